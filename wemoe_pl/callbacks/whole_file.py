"""Checkpoints are written whole or not at all, and read only if they are intact."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from wemoe_pl.runs.checkpoint import read_checkpoint
from wemoe_pl.system.files import atomic_write


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
