"""The checkpoint of a run: what was trained, and the identity of the frozen rest."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from wemoe_pl.errors import CheckpointError
from wemoe_pl.runs.settings import comparable
from wemoe_pl.system.files import atomic_write

ENDED = "ended"  # the key under which `LastCheckpoint` says that training has
IDENTITY = "wemoe_pl"  # the key under which a checkpoint holds what it belongs to
Sources = Mapping[str, Mapping[str, str]]


class WholeFile(TorchCheckpointIO):
    """Checkpoints as Lightning writes them, but whole or not at all, and read only if intact.

    Args:
        on_written: called with the path and the contents of a checkpoint as soon as it is in place.
    """

    def __init__(self, on_written: Callable[[Path, dict[str, Any]], None]):
        super().__init__()
        self.on_written = on_written

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Replace the file by a whole one.

        Lightning writes into the system's temporary folder first, and leaves that there if killed.
        """
        with atomic_write(Path(path)) as temporary, temporary.open("wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # torch's way to say that the disk is full
                raise (error.__context__ or error) from None
        self.on_written(Path(path), checkpoint)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint of this program onto the CPU; nothing in it is run."""
        return read_checkpoint(Path(path))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of this program; nothing in it is run.

    Raises:
        CheckpointError: it is missing, damaged, or of another program.
    """
    hint = "give DIR/checkpoints/last.ckpt of a run"
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint {path}: {hint}.")
    if not is_intact(path):
        raise CheckpointError(
            f"{path} is damaged or no checkpoint: it is not what was once written. Delete it, or "
            f"{hint} that is whole."
        )
    try:
        checkpoint: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds
        raise CheckpointError(f"{path} is damaged or no checkpoint: {hint}.") from error
    if not isinstance(checkpoint, dict) or not is_ours(checkpoint):
        raise CheckpointError(f"{path} was not written by wemoe-pl: {hint}.")
    return checkpoint


def is_ours(checkpoint: Mapping[str, Any]) -> bool:
    """Does a checkpoint have the parts that ours have, each of its kind?"""
    kinds: dict[str, type] = {IDENTITY: dict, "global_step": int, "callbacks": dict}
    return all(isinstance(checkpoint.get(name), kind) for name, kind in kinds.items())


def has_ended(last: Path) -> bool:
    """Is a checkpoint one of a training that has come to its end?"""
    callbacks: dict[str, Any] = read_checkpoint(last)["callbacks"]
    return all(state.get(ENDED, True) for state in callbacks.values())


def is_intact(path: Path) -> bool:
    """Do all parts of a file of `torch.save` have the checksums that were written with them?

    `torch.load` does not look at them.
    """
    try:
        with ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # `zipfile` and `zlib` raise many kinds
        return False


def check_sources(then: Sources, now: Sources, owner: str) -> None:
    """Raise `CheckpointError` unless the frozen files are those that `owner` was made with."""
    if change := source_change(then, now):
        raise CheckpointError(
            f"{owner} was trained with {change}. Use the suite that it was made with."
        )


def source_change(then: Sources, now: Sources) -> str:
    """Which frozen file is another than it was, in words; empty if none is."""
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
    """The choices that shape the frozen part of a model; nothing for an empty recipe."""
    suite = recipe.get("suite", {})
    return {
        "merge method": comparable(recipe.get("merge")),
        "backbone": suite.get("backbone"),
        "order of experts": list(suite.get("experts", {})),
    }
