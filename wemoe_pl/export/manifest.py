"""Write and read the manifest of an export: its contents, how it was made, and all file hashes."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NotRequired, cast

from pydantic import with_config
from typing_extensions import TypedDict

from wemoe_pl.checkpoints.heads import CosineHead
from wemoe_pl.errors import CheckpointError
from wemoe_pl.export.compiled import CompiledFor, compiled_as_stated
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.model.architecture import Architecture
from wemoe_pl.model.measured import Measured
from wemoe_pl.runs.checkpoint_schema import Digest, Source
from wemoe_pl.runs.results_schema import (
    Accuracies,
    CorruptionRecord,
    Fraction,
    MeanRoutingRecord,
    RenderRecord,
)
from wemoe_pl.system.files import atomic_write, sha256
from wemoe_pl.system.hub import is_inside
from wemoe_pl.system.provenance import revision, versions
from wemoe_pl.system.schema import STRICT, Schema, json_text, parse_json

MANIFEST = "wemoe_pl.json"
VERSION = 1
LATER = ("routing", "task", "compiled")  # fields that earlier versions do not know
EncoderPrecision = Literal["float32", "bfloat16", "float16", "float64"]


class HeadRecord(TypedDict):
    """A `HeadRecord` is the part of a head that is no tensor."""

    classes: list[str]
    logit_scale: float | None
    normalize: NotRequired[bool]  # only for a linear head of normalised features


class ExportedResults(TypedDict):
    """The exported results are those that a card's table needs; early versions have fewer."""

    suite: str
    method: str
    tasks: list[str]
    accuracy: Accuracies
    mean: Fraction | None
    seed: int
    normalized_mean: NotRequired[float | None]
    reference: NotRequired[dict[str, Accuracies] | None]
    note: NotRequired[str | None]
    partial: NotRequired[str | None]
    corruption: NotRequired[CorruptionRecord | None]
    render: NotRequired[RenderRecord | None]
    stream: NotRequired[str | None]


@with_config(STRICT)
@dataclass(frozen=True)
class Manifest:
    """A manifest says what an export contains and how it was made.

    Args:
        format: the format: one of those of `wemoe-pl export`.
        files: the SHA-256 of every other file of the folder, by its name.
        recipe: the suite and the merge method, as plain values.
        sources: the source of each frozen part, with its SHA-256.
        architecture: the architecture that the encoder is built from.
        precision: the precision of the encoder's numbers.
        heads: the class names in label order, the logit scale of a cosine head, and whether a
            linear head normalises features, by task.
        experts: the experts that were merged, in the order of the routing weights.
        results: the results of the run; None if it was not scored.
        method: the name of the merge method, which says so if nothing of it was adapted.
        versions: the versions of this program and of the packages that it is built on.
        revision: the revision of this program's source, if it is known.
        thresholds: the confidence below which an image is of no task, by rule and inferred task.
        routing: the mean routing weights of each task's test images, a row per block.
        task: the task that the encoder is a classifier of; None if it is of none alone.
        compiled: the target of the export's native code; None if it has none.
        version: the version of this form of manifests.
    """

    format: str
    files: dict[str, Digest]
    recipe: dict[str, Any]
    sources: dict[str, Source]
    architecture: Architecture
    precision: EncoderPrecision
    heads: dict[str, HeadRecord]
    experts: list[str]
    results: ExportedResults | None = None
    method: str | None = None
    versions: dict[str, str] = field(default_factory=versions)
    revision: str | None = None
    thresholds: dict[str, Accuracies] | None = None
    routing: MeanRoutingRecord | None = None
    task: str | None = None
    compiled: CompiledFor | None = None
    version: int = VERSION

    @classmethod
    def of(cls, model: ExportedModel, export_format: str, folder: Path) -> "Manifest":
        """Make the manifest of an export whose other files are written."""
        shown, whole = ExportedResults.__annotations__, model.whole.classifier
        tasks, measured = [model.task] if model.task else whole.tasks, whole.measured
        results = model.results and {key: model.results.get(key) for key in shown}
        return cls(
            format=export_format,
            files={path.name: sha256(path) for path in sorted(folder.iterdir())},
            recipe=model.recipe,
            sources={part: cast(Source, dict(s)) for part, s in model.sources.items()},
            architecture=model.architecture,
            precision=cast(EncoderPrecision, str(model.dtype).removeprefix("torch.")),
            heads={task: described_head(model.whole, task) for task in tasks},
            experts=list(whole.experts),
            results=cast(ExportedResults, results) if results else None,
            method=model.method,
            revision=revision(),
            task=model.task,
            compiled=compiled_as_stated(folder),
            thresholds={rule: dict(t) for rule, t in measured.thresholds.items()},
            routing={task: [[*row] for row in m] for task, m in measured.mean_routing.items()},
        )

    @property
    def measured(self) -> Measured:
        """Return what the model knows of its test images; manifests of early versions lack it."""
        return Measured(self.thresholds or {}, self.routing or {})

    @property
    def text(self) -> str:
        """Return the text of the manifest's file."""
        values = asdict(self)
        # What an export does not have is left out, so that earlier versions read all others.
        return json_text({key: value for key, value in values.items() if value or key not in LATER})

    def write(self, folder: Path) -> None:
        """Write the manifest next to the files that it describes."""
        with atomic_write(folder / MANIFEST) as temporary:
            temporary.write_text(self.text, encoding="utf-8")

    def check_files(self, folder: Path, needed: str) -> None:
        """Raise `CheckpointError` for the first file that is missing or not as it was written.

        Args:
            folder: the folder of the export.
            needed: the file that is to be read, whose hash the manifest must have.
        """
        if needed not in self.files:
            raise CheckpointError(
                f"{folder / MANIFEST} has no SHA-256 of {needed}, so nothing shows whether this is "
                "the file that was exported. Copy or download both again."
            )
        for name, digest in self.files.items():
            path = folder / name
            if not path.is_file():
                raise CheckpointError(
                    f"{folder} is incomplete: {name} is missing, although its {MANIFEST} lists it. "
                    "Copy or download it again."
                )
            if sha256(path) != digest:
                raise CheckpointError(
                    f"{path} is not the file that was exported: its SHA-256 is not that in "
                    f"{MANIFEST}. Copy or download it again."
                )


MANIFEST_SCHEMA = Schema(Manifest)


def described_head(model: ExportedModel, task: str) -> HeadRecord:
    """Return the record of a head, which has all but its tensors."""
    head = model.classifier.head(task)
    scale = head.logit_scale if isinstance(head, CosineHead) else None
    record: HeadRecord = {"classes": list(head.classes), "logit_scale": scale}
    return {**record, "normalize": True} if getattr(head, "normalize", False) else record


def read_manifest(path: Path) -> Manifest:
    """Read a manifest; the files that it names are yet to be checked.

    Raises:
        CheckpointError: it is damaged, of a later form, or names files outside its folder.
    """
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
        version = found["version"]
        if not isinstance(version, int):
            raise TypeError(version)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} is damaged or is not a manifest: export the model again."
        ) from error
    faults = MANIFEST_SCHEMA.faults(found)
    if version > VERSION or (faults.unknown and not faults.wrong):
        form = f"its form is {version}, and this wemoe-pl reads forms up to {VERSION}"
        why = form if version > VERSION else f"it has {faults.unknown_in_words}"
        raise CheckpointError(f"{path} was written by a later wemoe-pl ({why}): upgrade wemoe_pl.")
    if faults.wrong:
        raise CheckpointError(f"{path} is damaged: {faults.wrong}. Export the model again.")
    manifest = MANIFEST_SCHEMA.make(found)
    for name in manifest.files:
        if "/" in name or not is_inside(name):
            raise CheckpointError(f"{path} lists '{name}', which is outside its folder.")
    return manifest
