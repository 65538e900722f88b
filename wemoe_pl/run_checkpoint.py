"""The checkpoint of a run: what was trained, and the identity of the frozen rest."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from wemoe_pl.errors import CheckpointError
from wemoe_pl.files import atomic_write

LAST_CHECKPOINT = "last.ckpt"
IDENTITY = "wemoe_pl"  # the key under which a checkpoint holds what it belongs to
Sources = Mapping[str, Mapping[str, str]]


def checkpoint_folder(out: str | Path) -> str:
    """Where a run keeps its checkpoints."""
    return str(Path(out) / "checkpoints")


def last_checkpoint(out: str | Path) -> Path:
    """The last checkpoint of a run, whether or not it is there."""
    return Path(checkpoint_folder(out)) / LAST_CHECKPOINT


class LastCheckpoint(Checkpoint):
    """Keeps `last.ckpt` in a folder: after every validation, and when training has ended."""

    def __init__(self, dirpath: str):
        self.path = Path(dirpath) / LAST_CHECKPOINT

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save, if the validation is one of a training's."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self.save(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save what was trained."""
        self.save(trainer)

    def save(self, trainer: L.Trainer) -> None:
        """Replace the last checkpoint by a whole one: Lightning may leave half when disks fill."""
        if not trainer.is_global_zero:  # which writes nothing, but has its part in saving
            trainer.save_checkpoint(self.path)
            return
        with atomic_write(self.path) as temporary:
            trainer.save_checkpoint(temporary)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of this program; nothing in it is run.

    Raises:
        CheckpointError: it is missing, damaged, or of another program.
    """
    hint = "give DIR/checkpoints/last.ckpt of a run"
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint {path}: {hint}.")
    try:
        checkpoint: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds
        raise CheckpointError(f"{path} is damaged or no checkpoint: {hint}.") from error
    if not isinstance(checkpoint, dict) or IDENTITY not in checkpoint:
        raise CheckpointError(f"{path} was not written by wemoe-pl: {hint}.")
    return checkpoint


def check_sources(then: Sources, now: Sources, owner: str) -> None:
    """Raise `CheckpointError` unless the frozen files are those that `owner` was made with."""
    for part, source in now.items():
        known = then.get(part)
        if known is None or known["sha256"] != source["sha256"]:
            was = f"{known['source']} ({known['sha256'][:12]}…)" if known else "absent"
            raise CheckpointError(
                f"{owner} was trained with other {part}: it was {was} and is now "
                f"{source['source']} ({source['sha256'][:12]}…). "
                "Use the suite that it was made with."
            )


def frozen_choices(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What shapes the frozen part of a model beside its files; nothing for an empty recipe."""
    suite = recipe.get("suite", {})
    return {
        "merge method": recipe.get("merge"),
        "backbone": suite.get("backbone"),
        "order of experts": list(suite.get("experts", {})),
    }
