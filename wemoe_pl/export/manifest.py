"""The manifest of an export: what is in its folder, how it was made, and the hash of every file."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from wemoe_pl.checkpoints.heads import CosineHead
from wemoe_pl.errors import CheckpointError
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.system.files import atomic_write, sha256
from wemoe_pl.system.hub import is_inside
from wemoe_pl.system.provenance import revision, versions

MANIFEST = "wemoe_pl.json"
VERSION = 1
# What the table of a card needs of a run's results.
RESULTS = (
    "suite", "note", "partial", "method", "tasks", "accuracy", "mean", "normalized_mean",
    "reference", "corruption", "seed",
)  # fmt: skip


@dataclass(frozen=True)
class Manifest:
    """The manifest of an export: what it says of itself.

    Args:
        format: one of those of `wemoe-pl export`.
        files: the SHA-256 of every other file of the folder, by its name.
        recipe: the suite and the merge method, as plain values.
        sources: where each frozen part is from, with its SHA-256.
        architecture: what the encoder is built from.
        precision: of the encoder's numbers.
        heads: per task, the class names in label order, and the logit scale of a cosine head.
        experts: what was merged, in the order of the routing weights.
        results: what the run scored, if it did.
        method: the name of the merge method, which says so if nothing of it was adapted.
        versions: of this program and of what it is built on.
        revision: of this program's source, if it is known.
        version: of this form of manifests.
    """

    format: str
    files: dict[str, str]
    recipe: dict[str, Any]
    sources: dict[str, dict[str, str]]
    architecture: dict[str, Any]
    precision: str
    heads: dict[str, dict[str, Any]]
    experts: list[str]
    results: dict[str, Any] | None = None
    method: str | None = None
    versions: dict[str, str] = field(default_factory=versions)
    revision: str | None = None
    version: int = VERSION

    @classmethod
    def of(cls, model: ExportedModel, export_format: str, folder: Path) -> "Manifest":
        """Make the manifest of an export whose other files are written."""
        results = model.results and {k: model.results.get(k) for k in RESULTS}
        return cls(
            format=export_format,
            files={path.name: sha256(path) for path in sorted(folder.iterdir())},
            recipe=model.recipe,
            sources={part: dict(source) for part, source in model.sources.items()},
            architecture=asdict(model.architecture),
            precision=str(model.dtype).removeprefix("torch."),
            heads={task: described_head(model, task) for task in model.classifier.tasks},
            experts=list(model.classifier.experts),
            results=dict(results) if results else None,
            method=model.method,
            revision=revision(),
        )

    @property
    def text(self) -> str:
        """Return the text of the manifest's file."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    def write(self, folder: Path) -> None:
        """Write it beside the files that it is of."""
        with atomic_write(folder / MANIFEST) as temporary:
            temporary.write_text(self.text)

    def check_files(self, folder: Path) -> None:
        """Raise `CheckpointError` for the first file that is missing or not as it was written."""
        for name, digest in self.files.items():
            path = folder / name
            if not path.is_file():
                raise CheckpointError(
                    f"{folder} is not whole: {name} is missing, of which its {MANIFEST} speaks. "
                    "Copy or download it again."
                )
            if sha256(path) != digest:
                raise CheckpointError(
                    f"{path} is not the file that was exported: its SHA-256 is not that in "
                    f"{MANIFEST}. Copy or download it again."
                )


def described_head(model: ExportedModel, task: str) -> dict[str, Any]:
    """Describe a head, beside its numbers."""
    head = model.classifier.head(task)
    scale = head.logit_scale if isinstance(head, CosineHead) else None
    return {"classes": list(head.classes), "logit_scale": scale}


def read_manifest(path: Path) -> Manifest:
    """Read a manifest; the files that it speaks of are yet to be checked.

    Raises:
        CheckpointError: it is damaged, of a later form, or speaks of files elsewhere.
    """
    try:
        found = json.loads(path.read_text())
        version = found["version"]
        if not isinstance(version, int):
            raise TypeError(version)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged or no manifest: export it again.") from error
    if version > VERSION:
        raise CheckpointError(
            f"{path} was written by a later wemoe-pl (its form is {version}, and this one reads up "
            f"to {VERSION}): upgrade wemoe_pl."
        )
    manifest = checked(found, path)
    for name in manifest.files:
        if "/" in name or not is_inside(name):
            raise CheckpointError(f"{path} speaks of '{name}', which is outside its folder.")
    return manifest


def checked(found: Mapping[str, Any], path: Path) -> Manifest:
    """Make a manifest, every part of which is of the kind that it should be."""
    kinds: dict[str, type] = {
        **dict.fromkeys(("format", "precision"), str),
        **dict.fromkeys(("files", "recipe", "sources", "architecture", "heads", "versions"), dict),
        "experts": list,
    }
    for name, kind in kinds.items():
        if not isinstance(found.get(name), kind):
            raise CheckpointError(f"{path} has no '{name}': export the model again.")
    known = {field.name for field in fields(Manifest)}
    return Manifest(**{name: value for name, value in found.items() if name in known})
