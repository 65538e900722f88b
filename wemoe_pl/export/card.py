"""Write the model card of an export, for people who find it on the hub."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import yaml

from wemoe_pl import __version__
from wemoe_pl.data.preprocessing import Preprocessing
from wemoe_pl.export.formats import FORMATS_BY_NAME
from wemoe_pl.export.manifest import Manifest
from wemoe_pl.merging.spelling import spelled
from wemoe_pl.reporting.markdown import as_markdown, fenced, grid, inline_code
from wemoe_pl.reporting.run_notes import notes_on_means, notes_on_run
from wemoe_pl.reporting.summary import rows_by_task
from wemoe_pl.reporting.templates import template_in
from wemoe_pl.reporting.without_labels import (
    compared_metric,
    compared_references,
    scored_tasks,
)
from wemoe_pl.runs.checkpoint import Sources
from wemoe_pl.system.files import SHIPPED
from wemoe_pl.system.hub_repo import HubRepo
from wemoe_pl.training.references import EXPERTS
from wemoe_pl.training.shown_metrics import ACCURACY

CARD_FILE = "README.md"
# How a tensor of images becomes one of a bundle's precision; other formats are of single precision.
CASTS = {"float32": "", "bfloat16": ".bfloat16()", "float16": ".half()", "float64": ".double()"}
ZERO_SHOT = "zero-shot, by "  # the source of a head that a text tower made begins with it


def model_card(
    manifest: Manifest,
    place: HubRepo | Path,
    licences: Mapping[str, str | None] | None,
    difference: float,
) -> str:
    """Write the README of an export.

    Args:
        manifest: the manifest of the export.
        place: the repository to which it is uploaded, or the folder that it is written to.
        licences: the licence that the card of each merged repository states, or None; None if
            licences were not looked up.
        difference: the largest difference of a feature between the model and the export read back.
    """
    named = manifest.results["method"] if manifest.results else manifest.method
    named = named or manifest.recipe["merge"]["class_path"].rpartition(".")[2]
    recipe = yaml.safe_dump(manifest.recipe, sort_keys=False, allow_unicode=True)
    return template_in(SHIPPED, "card.md.jinja", keep_trailing_newline=True).render(
        metadata=yaml.safe_dump(metadata(manifest, licences or {}), sort_keys=False),
        method=as_markdown(spelled(named)),
        suite=as_markdown(manifest.recipe["suite"]["name"]),
        experts=as_markdown(", ".join(manifest.experts)),
        tasks=as_markdown(", ".join(manifest.heads)),
        backbone=inline_code(manifest.architecture.backbone),
        revision=inline_code(manifest.revision) if manifest.revision else "",
        manifest=manifest,
        input=described_input(
            Preprocessing(manifest.architecture.plain_backbone).config, manifest.precision
        ),
        trains_heads=(manifest.recipe["merge"].get("init_args") or {}).get("trains_heads"),
        format=FORMATS_BY_NAME[manifest.format],
        # A folder is shown by its name alone, since it may be copied anywhere.
        place=place.name if isinstance(place, HubRepo) else f"path/to/{place.resolve().name}",
        is_on_hub=isinstance(place, HubRepo),
        task=next(iter(manifest.heads)),
        results=results_table(manifest.results),
        version=__version__,
        recipe=fenced(recipe, "yaml"),
        sources=sources_table(manifest.sources, licences),
        difference=difference,
    )


def described_input(config: Mapping[str, Any], precision: str) -> dict[str, Any]:
    """Return how images become the input of an export, as templates need it.

    Args:
        config: timm's data config of the backbone, as `Preprocessing` has it.
        precision: the precision of the export's numbers.
    """
    channels, height, width = config["input_size"]
    fill = tuple(round(255 * value) for value in config["mean"])
    return {
        "mode": "RGB" if channels == 3 else "L",
        "height": height,
        "width": width,
        "interpolation": config["interpolation"],
        "resampling": config["interpolation"].upper(),
        "crop_mode": config["crop_mode"],
        "fill": fill if channels == 3 else fill[0],
        "mean": [*config["mean"]],
        "std": [*config["std"]],
        "cast": CASTS[precision],
    }


def metadata(manifest: Manifest, licences: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the metadata of a card, which the hub reads."""
    known: dict[str, Any] = {
        "library_name": FORMATS_BY_NAME[manifest.format].library,
        "pipeline_tag": "image-classification",
        "tags": ["model-merging", "wemoe_pl"],
    }
    return known | ({"base_model": [*licences]} if licences else {})


def results_table(results: Mapping[str, Any] | None) -> str:
    """Write the accuracy per task next to that of its own expert, if the run was scored.

    If no image has a label, the table has the score that is shown instead of the accuracy.
    """
    if not results:
        return "Not scored."
    metric = compared_metric([results])
    columns = {metric.label: results.get(metric.result, {})}
    if metric is ACCURACY:
        columns["its own expert, %"] = compared_references(results, metric).get(EXPERTS, {})
    rows = rows_by_task(scored_tasks(results), columns.values())
    table = grid(["task", *columns], rows, align="---")
    corruption = results.get("corruption")
    note = [f"On corrupted images: {corruption}."] if corruption else []
    note += [*notes_on_run(results), *notes_on_means(results)]
    below = as_markdown(f"Seed {results['seed']}. {' '.join(note)}".strip())
    return "\n".join([table, "", below])


def sources_table(sources: Sources, licences: Mapping[str, str | None] | None) -> str:
    """Write a table with a row per frozen part, with licences if they were looked up."""
    rows = []
    columns = ["part", "source", "SHA-256", *(["licence"] if licences is not None else [])]
    for part, source in sources.items():
        row = [part, source["source"], inline_code(source["sha256"])]
        if licences is not None:
            row.append(licences.get(source_repo(source["source"])) or "not stated")
        rows.append(row)
    return grid(columns, rows, align="---")


def source_repo(source: str) -> str:
    """Return the name of the repository in a source, if it names one.

    >>> source_repo("zero-shot, by openai/clip-vit-base-patch32@v1")
    'openai/clip-vit-base-patch32'
    """
    return source.removeprefix(ZERO_SHOT).partition("@")[0]


def shareable(manifest: Manifest) -> Manifest:
    """Return a manifest without the folders of the machine that it is from."""
    recipe, sources = without_folders(manifest.recipe), without_folders(manifest.sources)
    return replace(manifest, recipe=recipe, sources=sources)


def without_folders(value: Any) -> Any:
    """Shorten paths in plain values, so that none names a folder of this machine.

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
