"""The model card of an export: all that somebody needs who finds it on the hub."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import yaml

from wemoe_pl import __version__
from wemoe_pl.export.formats import FORMATS
from wemoe_pl.export.manifest import Manifest
from wemoe_pl.reporting.table import grid, percent
from wemoe_pl.system.hub_repo import HubRepo
from wemoe_pl.training.metrics import mean

ZERO_SHOT = "zero-shot, by "  # how the source of a head begins that a text tower made
CARD = """\
---
{metadata}---

# {method} of {suite}

{about}

## How to load it

```python
{loading}```

Images are resized so that the shorter side fits, cropped to the middle, and normalised as the
pretrained model `{backbone}` expects it. Tasks: {tasks}.

## Results

{results}

## Recipe

Made by wemoe_pl {version}{revision}, from this suite and merge method:

```yaml
{recipe}```

## Sources

{sources}

## Limits

{limits}
"""


def model_card(
    manifest: Manifest, repo: HubRepo, licences: Mapping[str, str | None], difference: float
) -> str:
    """Write the README of a repository.

    Args:
        manifest: the manifest of what is uploaded.
        repo: the repository.
        licences: per repository that was merged, its licence if its card states one.
        difference: the largest between features of the model and of what was read back.
    """
    suite, merge = manifest.recipe["suite"], manifest.recipe["merge"]
    named = (manifest.results or {}).get("method") or manifest.method
    method = named or merge["class_path"].rpartition(".")[2]
    made_by = f", revision `{manifest.revision}`" if manifest.revision else ""
    return CARD.format(
        metadata=yaml.safe_dump(metadata(manifest, licences), sort_keys=False),
        method=method,
        suite=suite["name"],
        about=about(manifest),
        loading=loading(manifest, repo),
        backbone=manifest.architecture["backbone"],
        tasks=", ".join(manifest.heads),
        results=results_table(manifest.results),
        version=__version__,
        revision=made_by,
        recipe=yaml.safe_dump(manifest.recipe, sort_keys=False, allow_unicode=True),
        sources=sources_table(manifest.sources, licences),
        limits=limitations(manifest, difference),
    )


def metadata(manifest: Manifest, licences: Mapping[str, str | None]) -> dict[str, Any]:
    """Collect what the hub reads of a card."""
    known: dict[str, Any] = {
        "library_name": FORMATS[manifest.format].library,
        "pipeline_tag": "image-classification",
        "tags": ["model-merging", "wemoe_pl"],
    }
    return known | ({"base_model": [*licences]} if licences else {})


def about(manifest: Manifest) -> str:
    """Say what the model is, in two sentences."""
    count, experts = manifest.architecture["experts"], ", ".join(manifest.experts)
    kind = (
        f"Every MLP of the encoder is a weight-ensembling mixture of {count} experts "
        "([arXiv 2402.00433](https://arxiv.org/abs/2402.00433)), whose routers mix their task "
        "vectors for every image anew"
        if count
        else "The encoder is a plain vision transformer, as fast as the pretrained one"
    )
    return (
        f"One vision transformer for {len(manifest.heads)} tasks, merged of one pretrained model "
        f"and the experts for {experts}. {kind}; its numbers are {manifest.precision}."
    )


def loading(manifest: Manifest, repo: HubRepo) -> str:
    """Write the lines of Python that load the model."""
    upscaled = manifest.architecture["experts"]
    projected = manifest.architecture["options"].get("num_classes")
    return FORMATS[manifest.format].loading.format(
        repo=repo.name,
        task=next(iter(manifest.heads)),
        count=len(manifest.experts) + 1,
        register="import wemoe_pl.model.architecture  # pip install wemoe_pl; timm then knows it\n"
        if upscaled
        else "",
        tower="CLIPVisionModelWithProjection" if projected else "CLIPVisionModel",
    )


def results_table(results: Mapping[str, Any] | None) -> str:
    """Write the accuracy per task beside that of its own expert, if the run was scored."""
    if not results:
        return "Not scored."
    own = (results.get("reference") or {}).get("individual") or {}
    rows = [[t, percent(value), percent(own.get(t))] for t, value in results["accuracy"].items()]
    rows.append(["mean", percent(results["mean"]), percent(mean(own))])
    table = grid(["task", "accuracy, %", "its own expert, %"], rows, align="---")
    corruption = results.get("corruption")
    note = [f"On corrupted images: {corruption}."] if corruption else []
    note += [results[key] for key in ("note", "partial") if results.get(key)]
    return "\n".join([table, "", f"Seed {results['seed']}. {' '.join(note)}".strip()])


def sources_table(
    sources: Mapping[str, Mapping[str, str]], licences: Mapping[str, str | None]
) -> str:
    """Write a row per frozen part."""
    rows = [
        [
            part,
            source["source"],
            f"`{source['sha256']}`",
            licences.get(source_repo(source["source"])) or "not stated",
        ]
        for part, source in sources.items()
    ]
    return grid(["part", "source", "SHA-256", "licence"], rows, align="---")


def source_repo(source: str) -> str:
    """Name the repository that a source means, if it means one.

    >>> source_repo("zero-shot, by openai/clip-vit-base-patch32@v1")
    'openai/clip-vit-base-patch32'
    """
    return source.removeprefix(ZERO_SHOT).partition("@")[0]


def limitations(manifest: Manifest, difference: float) -> str:
    """List what nobody should expect of the model."""
    lines = [
        "It knows the classes of its tasks and no others, and images like those that its experts "
        "were fine-tuned on.",
        "Its licence follows from those of its sources, which see above.",
        f"Read back after it was written, its features differed by at most {difference:.1e} from "
        "those of the model that it was written from.",
    ]
    if not FORMATS[manifest.format].has_heads:
        lines.append("It is the encoder alone: the heads of the tasks are not in it.")
    return "\n".join(f"* {line}" for line in lines)


def without_folders(value: Any) -> Any:
    """Shorten paths in plain values, so that none tells of the machine that it is from.

    >>> without_folders({"experts": ["/home/me/cars.safetensors", "owner/name"]})
    {'experts': ['…/cars.safetensors', 'owner/name']}
    """
    if isinstance(value, Mapping):
        return {key: without_folders(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(item) for item in value]
    if isinstance(value, str) and value.startswith(ZERO_SHOT):
        return f"{ZERO_SHOT}{without_folders(value.removeprefix(ZERO_SHOT))}"
    if isinstance(value, str) and (PurePath(value).is_absolute() or value.startswith(("~", ".."))):
        return f"…/{PurePath(value).name}"
    return value
