"""`load`: the merged classifier of a run, of a checkpoint or of an export, here or on the hub."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from wemoe_pl.classifier import MultiTaskClassifier
from wemoe_pl.errors import CheckpointError
from wemoe_pl.export.adapter import read_adapter
from wemoe_pl.export.bundle import read_bundle
from wemoe_pl.export.manifest import MANIFEST, read_manifest
from wemoe_pl.export.subject import Subject
from wemoe_pl.hub import HubFiles, HubRepo
from wemoe_pl.plain_yaml import load_plain
from wemoe_pl.recipes import rebuild
from wemoe_pl.run_checkpoint import (
    CONFIG_FILE,
    IDENTITY,
    RESULTS,
    check_sources,
    checkpoint_folder,
    last_checkpoint,
    read_checkpoint,
)


def load(source: str | Path, allow: Sequence[str] = ()) -> MultiTaskClassifier:
    """The merged multi-task classifier of a run or an export, ready for `model(images, task)`.

    That of a run, a checkpoint or an adapter is made again from the pretrained encoder, the
    experts and the heads that were used, whose hashes are checked. A bundle has all in itself.

    Args:
        source: the folder of a run, one of its checkpoints, the folder of an adapter or a bundle,
            its file there, or the id of one on the hub, `owner/name[@revision]`.
        allow: packages of which it may name classes, as `--allow` does.

    Raises:
        CheckpointError: there is no such thing, it is damaged, or its sources have changed.
        ConfigError: it names classes of other packages.
        HubError: the hub has no such model, or cannot be reached.
    """
    folder = export_folder(source)
    if folder is None:
        return open_run(Path(source), allow).classifier
    manifest = read_manifest(folder / MANIFEST)
    if manifest.format == "bundle":
        manifest.check_files(folder)
        return read_bundle(folder, manifest)
    return open_adapter(folder, allow).classifier


def open_model(source: str | Path, allow: Sequence[str] = ()) -> Subject:
    """What `load` gives, with all that is known of how it was made.

    Args:
        source: see `load`; no bundle, which cannot be taken apart.
        allow: see `load`.

    Raises:
        WeMoEError: see `load`.
    """
    folder = export_folder(source)
    return open_run(Path(source), allow) if folder is None else open_adapter(folder, allow)


def export_folder(source: str | Path) -> Path | None:
    """The folder of the export that a source means; None if it means a run."""
    path = Path(source)
    if path.is_dir():
        return path if (path / MANIFEST).is_file() else None
    if path.is_file():
        if path.name == MANIFEST or (path.parent / MANIFEST).is_file():
            return path.parent
        if path.suffix == ".safetensors":
            raise CheckpointError(f"{path} is part of no export: there is no {MANIFEST} beside it.")
        return None
    if repo := HubRepo.parse(str(source), "model"):
        return fetch_export(repo)
    raise CheckpointError(
        f"There is no {path}: give the folder of a run or an export, a checkpoint, or the id of a "
        "model on the hub."
    )


def fetch_export(repo: HubRepo) -> Path:
    """The folder of an export in the cache of the hub, to where it is fetched."""

    def all_of_it(names: Sequence[str]) -> list[str]:
        return [name for name in names if name[0] != "."] if MANIFEST in names else []

    wanted = f"manifest of wemoe-pl ({MANIFEST})"
    paths = HubFiles(repo, all_of_it, wanted).fetch()
    return next(path.parent for path in paths if path.name == MANIFEST)


def open_adapter(folder: Path, allow: Sequence[str]) -> Subject:
    """The model of an adapter, made again."""
    manifest = read_manifest(folder / MANIFEST)
    if manifest.format != "adapter":
        raise CheckpointError(
            f"{folder} is a model in the format '{manifest.format}', which is not read here: give "
            "the run that it was exported from, an adapter or a bundle."
        )
    manifest.check_files(folder)
    return read_adapter(folder, manifest, allow)


def open_run(path: Path, allow: Sequence[str]) -> Subject:
    """The model of a run's folder or of one of its checkpoints."""
    last = last_checkpoint(path)
    if path.is_file() or last.is_file():
        return open_adapted(path if path.is_file() else last, allow)
    if (path / CONFIG_FILE).is_file():
        return open_static(path, allow)
    raise CheckpointError(
        f"{path} is neither a checkpoint nor the folder of a run ({CONFIG_FILE}, checkpoints/) or "
        f"of an export ({MANIFEST})."
    )


def open_adapted(path: Path, allow: Sequence[str]) -> Subject:
    """The model of an adaptation's checkpoint."""
    checkpoint = read_checkpoint(path)
    recipe = checkpoint[IDENTITY].get("recipe")
    if not recipe:
        raise CheckpointError(f"{path} is not a checkpoint of a test-time adaptation.")
    suite, merge = rebuild(recipe, allow)
    check_sources(checkpoint[IDENTITY]["sources"], suite.sources(), "The checkpoint")
    adapted = {k.removeprefix("classifier."): w for k, w in checkpoint["state_dict"].items()}
    is_in_run = path.parent == Path(checkpoint_folder(path.parent.parent))
    results = results_in(path.parent.parent) if is_in_run else None
    return Subject.assemble(suite, merge, adapted, results)


def open_static(folder: Path, allow: Sequence[str]) -> Subject:
    """The model of a run that adapted nothing, from its resolved config."""
    config = folder / CONFIG_FILE
    try:
        settings = load_plain(config.read_text())
        recipe = {"suite": settings["suite"], "merge": settings["model"]["init_args"]["merge"]}
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{config} is not the config of a merged model.") from error
    whole, method = rebuild(recipe, allow)
    suite = whole.restricted_to(settings.get("tasks"), settings.get("unseen") or ())
    results = results_in(folder)
    if results is not None:
        check_sources(results["sources"], suite.sources(), str(folder))
    return Subject.assemble(suite, method, {}, results)


def results_in(folder: Path) -> dict[str, Any] | None:
    """What a run scored, if it did."""
    path = folder / RESULTS
    return json.loads(path.read_text()) if path.is_file() else None
