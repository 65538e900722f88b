"""Read the checkpoint of a run, which holds trained weights and the identity of the frozen rest."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from wemoe_pl.checkpoints.archives import check_archive, is_intact
from wemoe_pl.errors import CheckpointError
from wemoe_pl.runs.checkpoint_schema import CHECKPOINT_SCHEMA
from wemoe_pl.runs.checkpoint_tensors import check_tensors
from wemoe_pl.runs.settings import comparable
from wemoe_pl.system.near_paths import did_you_mean_path

ENDED = "ended"  # the key under which `LastCheckpoint` notes that training has ended
IDENTITY = "wemoe_pl"  # the key under which a checkpoint describes its model
Sources = Mapping[str, Mapping[str, Any]]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of this program; no code in it is run, and compressed files are refused.

    Every command reads checkpoints by this function. It cannot tell whether all weights of a model
    are there, which is checked where the model is known.

    Raises:
        CheckpointError: the file is missing, damaged, or of another program; a field is missing,
            of another type, or of a later version; or a weight is not finite, or of another
            precision than its run has.
    """
    hint = "give DIR/checkpoints/last.ckpt of a run"
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint {path}: {hint}.{did_you_mean_path(path)}")
    check_archive(path, hint)
    if not is_intact(path):
        raise CheckpointError(
            f"{path} is damaged or not a checkpoint: its contents are not those that were written. "
            f"Delete it, or {hint} that is undamaged."
        )
    try:
        checkpoint: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds
        raise CheckpointError(f"{path} is damaged or not a checkpoint: {hint}.") from error
    if not isinstance(checkpoint, dict) or IDENTITY not in checkpoint:
        raise CheckpointError(f"{path} was not written by wemoe-pl: {hint}.")
    check_contents(path, checkpoint)
    return checkpoint


def check_contents(path: Path, checkpoint: dict[str, Any]) -> None:
    """Raise `CheckpointError` unless the contents of a checkpoint are what a run writes."""
    faults = CHECKPOINT_SCHEMA.faults(checkpoint)
    if faults.wrong:
        raise CheckpointError(f"{path} is damaged: {faults.wrong}. Give another checkpoint.")
    if faults.unknown:
        raise CheckpointError(
            f"{path} has {faults.unknown_in_words}, which this version does not know: a later "
            "wemoe-pl has written the file, or it was changed. Upgrade wemoe_pl."
        )
    check_tensors(path, checkpoint)
    step, loop = checkpoint["global_step"], checkpoint["loops"]["fit_loop"]
    automatic = loop["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]
    manual = loop["epoch_loop.manual_optimization.optim_step_progress"]
    if step not in (automatic["total"]["completed"], manual["total"]["completed"]):
        raise CheckpointError(
            f"{path} is damaged: it is of step {step}, but its optimiser has made "
            f"{automatic['total']['completed']} steps. Give another checkpoint."
        )


def has_ended(last: Path) -> bool:
    """Return whether a checkpoint is of a training that has come to its end."""
    states = read_checkpoint(last)["callbacks"].values()
    return all(state.get(ENDED, True) for state in states if isinstance(state, Mapping))


def check_sources(then: Sources, now: Sources, owner: str) -> None:
    """Raise `CheckpointError` unless the frozen files are those that `owner` was made with."""
    if change := source_change(then, now):
        raise CheckpointError(
            f"{owner} was trained with {change}. Use the suite that it was made with."
        )


def source_change(then: Sources, now: Sources) -> str:
    """Say which frozen file has changed; return an empty text if none has."""
    for part, source in now.items():
        known = then.get(part)
        if known is None or known["sha256"] != source["sha256"]:
            was = f"{known['source']} ({known['sha256'][:12]}…)" if known else "absent"
            return (
                f"other {part}: it was {was} and is now {source['source']} "
                f"({source['sha256'][:12]}…)"
            )
    return ""


def frozen_choices(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the choices that shape the frozen part of a model; they are empty without a recipe."""
    suite = recipe.get("suite", {})
    return {
        "merge method": comparable(recipe.get("merge")),
        "backbone": suite.get("backbone"),
        "order of experts": list(suite.get("experts", {})),
    }
