"""Load the merged classifier of a run, a checkpoint or an export, from disk or from the hub."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from wemoe_pl.errors import CheckpointError
from wemoe_pl.export.adapter import ADAPTER_FILE, read_adapter
from wemoe_pl.export.bundle import BUNDLE_FILE, read_bundle
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.manifest import MANIFEST, read_manifest
from wemoe_pl.model.classifier import MultiTaskClassifier
from wemoe_pl.model.recipe import rebuild
from wemoe_pl.model.torch_defaults import torch_defaults
from wemoe_pl.runs.checkpoint import IDENTITY, check_sources, read_checkpoint
from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.runs.home import home_of, seen_from
from wemoe_pl.runs.run_config import read_run_config
from wemoe_pl.system.folders import read_unchanged
from wemoe_pl.system.hub import HubFiles
from wemoe_pl.system.hub_repo import HubRepo
from wemoe_pl.system.near_paths import did_you_mean_path, perhaps_a_path

PROGRAM_SUFFIX = ".pt2"  # of programs of torch, also of those that are native code


@torch_defaults()
def load(source: str | Path, allow: Sequence[str] = ()) -> MultiTaskClassifier:
    """Load the merged classifier of a run or an export, ready for `model(images, task)`.

    For a run, a checkpoint or an adapter, it is rebuilt from the pretrained encoder, the experts
    and the heads that were used, whose hashes are checked. A bundle contains everything. The model
    is in the memory of the CPU, whatever `torch.set_default_device` says.

    Args:
        source: the folder of a run, its `config.yaml` or one of its checkpoints, the folder of an
            adapter or a bundle, its file there, or the id of one on the hub,
            `owner/name[@revision]`.
        allow: the packages whose classes it may name, as with `--allow`.

    Raises:
        CheckpointError: the source does not exist, is damaged, or its own sources have changed.
        ConfigError: it names classes of other packages.
        HubError: the hub has no such model, or cannot be reached.
    """
    folder = export_folder(source)
    if folder is None:
        return open_run(Path(source).expanduser(), allow).classifier
    return read_unchanged(folder, partial(open_export, folder, allow))


def open_export(folder: Path, allow: Sequence[str]) -> MultiTaskClassifier:
    """Load a bundle or an adapter."""
    manifest = read_manifest(folder / MANIFEST)
    if manifest.format == "bundle":
        manifest.check_files(folder, BUNDLE_FILE)
        return read_bundle(folder, manifest)
    return open_adapter(folder, allow).classifier


@torch_defaults()
def open_model(source: str | Path, allow: Sequence[str] = ()) -> ExportedModel:
    """Load a model as `load` does, with the record of how it was made.

    Args:
        source: the same as for `load`, except a bundle, which cannot be taken apart.
        allow: the same as for `load`.

    Raises:
        WeMoEError: see `load`.
    """
    folder = export_folder(source)
    if folder is None:
        return open_run(Path(source).expanduser(), allow)
    return read_unchanged(folder, partial(open_adapter, folder, allow))


def export_folder(source: str | Path) -> Path | None:
    """Return the folder of the export that a source names; None if it names a run."""
    path = Path(source).expanduser()
    if path.is_dir():
        return path if (path / MANIFEST).is_file() else None
    if path.is_file():
        if path.name == MANIFEST or (path.parent / MANIFEST).is_file():
            return path.parent
        if path.suffix == PROGRAM_SUFFIX:
            raise never_opened(path)
        if path.suffix == ".safetensors":
            raise CheckpointError(f"{path} is part of no export: there is no {MANIFEST} beside it.")
        return None
    if repo := HubRepo.parse(str(source), "model"):
        with perhaps_a_path(path):
            return fetch_export(repo)
    raise CheckpointError(
        f"There is no {path}: give the folder of a run or an export, a checkpoint, or the id of a "
        f"model on the hub.{did_you_mean_path(path)}"
    )


def fetch_export(repo: HubRepo) -> Path:
    """Fetch an export, and return its folder in the cache of the hub."""

    def all_of_it(names: Sequence[str]) -> list[str]:
        return [name for name in names if name[0] != "."] if MANIFEST in names else []

    paths = HubFiles(repo, all_of_it, f"manifest of wemoe-pl ({MANIFEST})").fetch()
    return next(path.parent for path in paths if path.name == MANIFEST)


def open_adapter(folder: Path, allow: Sequence[str]) -> ExportedModel:
    """Rebuild the model of an adapter."""
    manifest = read_manifest(folder / MANIFEST)
    if manifest.compiled:
        raise never_opened(folder)
    if manifest.format != "adapter":
        raise CheckpointError(
            f"{folder} is a model in the format '{manifest.format}', which wemoe-pl does not load: "
            "give the run that it was exported from, an adapter or a bundle."
        )
    manifest.check_files(folder, ADAPTER_FILE)
    return read_adapter(folder, manifest, allow)


def never_opened(path: Path) -> CheckpointError:
    """Return the error for a program of torch, which may be native code."""
    return CheckpointError(
        f"{path} holds a program of torch as native code or a graph, and wemoe-pl runs no code of "
        "files: give the run that it was exported from, an adapter or a bundle."
    )


def open_run(path: Path, allow: Sequence[str]) -> ExportedModel:
    """Load the model of a run, given by its folder, its config or one of its checkpoints."""
    folder = RunFolder(path.parent if path.name == RunFolder(path.parent).config.name else path)
    if path.is_file() and folder.path == path:
        return open_adapted(path, allow)
    if folder.last_checkpoint.is_file():
        return open_adapted(folder.last_checkpoint, allow)
    if folder.config.is_file():
        return open_static(folder, allow)
    raise CheckpointError(
        f"{path} is neither a checkpoint nor the folder of a run ({folder.config.name}, "
        f"{folder.checkpoints.name}/) or of an export ({MANIFEST})."
    )


def open_adapted(path: Path, allow: Sequence[str]) -> ExportedModel:
    """Load the model of an adaptation's checkpoint."""
    checkpoint = read_checkpoint(path)
    recipe = checkpoint[IDENTITY].get("recipe")
    if not recipe:
        raise CheckpointError(f"{path} is not a checkpoint of a test-time adaptation.")
    suite, merge = rebuild(wherever_one_stands(recipe, RunFolder(path.parent.parent)), allow)
    check_sources(checkpoint[IDENTITY]["sources"], suite.sources(), "The checkpoint")
    adapted = {k.removeprefix("classifier."): w for k, w in checkpoint["state_dict"].items()}
    try:
        return ExportedModel.assemble(suite, merge, adapted, results_of(path))
    except CheckpointError as error:
        raise CheckpointError(f"{path} cannot be used. {error}") from None


def wherever_one_stands(recipe: Mapping[str, Any], folder: RunFolder) -> Mapping[str, Any]:
    """Return the recipe of a run with its paths resolved from the folder where it was begun."""
    home = home_of(folder)
    return recipe if home is None else seen_from(home, recipe)


def results_of(checkpoint: Path) -> dict[str, Any] | None:
    """Read the results of a checkpoint's run, if they belong to this checkpoint."""
    folder = RunFolder(checkpoint.parent.parent)
    if checkpoint.absolute() != folder.last_checkpoint.absolute():
        return None
    results = folder.read_results()
    return results if results and folder.belongs_together(results) else None


def open_static(folder: RunFolder, allow: Sequence[str]) -> ExportedModel:
    """Load the model of a run that adapted nothing, from its resolved config."""
    settings = read_run_config(folder.config)
    merge = (settings["model"].get("init_args") or {}).get("merge")
    if not merge:
        raise CheckpointError(f"{folder.config} is not the config of a merged model.")
    recipe = {"suite": settings["suite"], "merge": merge}
    suite, merge_method = rebuild(wherever_one_stands(recipe, folder), allow)
    suite = suite.restricted_to(settings.get("tasks"), settings.get("unseen") or ())
    results = folder.read_results()
    if results is not None:
        check_sources(results["sources"], suite.sources(), str(folder.path))
    return ExportedModel.assemble(suite, merge_method, {}, results, is_adapted=False)
