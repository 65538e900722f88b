"""Find the run and the checkpoint that a command is about.

A command other than fit that is given the config of a run uses this run's checkpoint by default.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wemoe_pl.errors import CheckpointError
from wemoe_pl.runs.checkpoint import read_checkpoint
from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.runs.run_config import read_run_config
from wemoe_pl.runs.settings import first_change, read_settings
from wemoe_pl.system.configs import find_config

MODEL_KEYS = ("suite", "tasks", "unseen")
LAST, NONE = "last", "none"  # values of `--ckpt_path` other than the path of a file


class Meant(NamedTuple):
    """`Meant` names the run that a command is about.

    Attributes:
        out: the folder in which the command is to write.
        checkpoint: the checkpoint to go on from, score or use; None for the model as it is merged.
        notes: the remarks on both for the user.
    """

    out: Path
    checkpoint: Path | None
    notes: list[str]


def meant_run(
    command: str,
    configs: Sequence[str],
    recipe: Mapping[str, Any],
    is_out_given: bool,
    is_checkpoint_given: bool,
) -> Meant:
    """Find out which folder and which checkpoint a command is about.

    Args:
        command: fit, validate, test or predict.
        configs: the configs that it was given, by name or path.
        recipe: the config that they and the command line make together, as plain values.
        is_out_given: True if the command line, not only a config, says where to write.
        is_checkpoint_given: True if the command line says which checkpoint to use.

    Raises:
        CheckpointError: the checkpoint is not there, or damaged.
    """
    out, given = Path(recipe["out"]), recipe["ckpt_path"]
    own = None if command == "fit" else run_of_config(configs)
    if own is not None and not is_out_given:
        out = own.path  # wherever it was moved to since
    if own is not None and not is_checkpoint_given and given == beginning_of(own):
        given = None  # the run began with this checkpoint, and has left another
    if own is not None and given is None and own.last_checkpoint.is_file():
        if change := model_change(own, recipe):
            unused = (
                f"The checkpoint of {own.path} is not used, because the model has changed: "
                f"{change}."
            )
            return Meant(out, None, [unused])
        read_checkpoint(own.last_checkpoint)
        used = f"Using the checkpoint of this run: {own.last_checkpoint}"
        return Meant(out, own.last_checkpoint, [used])
    if given in (None, NONE):
        return Meant(out, None, [])
    last = RunFolder(out).last_checkpoint
    checkpoint = last if given == LAST else Path(str(given)).expanduser()
    read_checkpoint(checkpoint)
    return Meant(out, checkpoint, [])


def run_of_config(names: Sequence[str]) -> RunFolder | None:
    """Return the last fit whose own `config.yaml` is among some configs; None if there is none."""
    for name in reversed(names):
        path = Path(find_config(name))
        folder = RunFolder(path.parent)
        if path.name == folder.config.name and folder.holds_fit:
            return folder
    return None


def scored_run_of(
    configs: Sequence[str], recipe: Mapping[str, Any], sources: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the results of the `test` whose config a command was given for a merged model.

    The results of a fit belong to its checkpoint, and say nothing of the model as it was merged.

    Args:
        configs: the configs that a command was given, by name or path.
        recipe: the config that they and the command line make together, as plain values.
        sources: the files that the model is made of, with their hashes.

    Returns:
        The results; None if the last config is of no such run, or that run had another model.
    """
    for path in (Path(find_config(name)) for name in configs[-1:]):
        folder = RunFolder(path.parent)
        results = folder.read_results() if path.name == folder.config.name else None
        if not results or folder.holds_fit or results["sources"] != sources:
            continue
        if not model_change(folder, recipe):
            return results
    return None


def beginning_of(folder: RunFolder) -> Any:
    """Return the checkpoint that a run began with, as its config names it."""
    return (read_settings(folder.config) or {}).get("ckpt_path")


def model_change(folder: RunFolder, recipe: Mapping[str, Any]) -> str:
    """Say how a model differs from the one of a run; return an empty text if it does not."""
    try:
        then = read_run_config(folder.config)
    except CheckpointError as error:
        return str(error).rstrip(".")
    return first_change(model_settings(then), model_settings(recipe))


def model_settings(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a job that say which model it is about."""
    model = recipe.get("model") or {}
    about = {key: recipe.get(key) for key in MODEL_KEYS}
    merge = (model.get("init_args") or {}).get("merge")
    return {**about, "model": {"class_path": model.get("class_path"), "merge": merge}}
