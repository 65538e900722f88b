"""Write checkpoints whole or not at all, and read them only if they are intact."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from wemoe_pl.runs.checkpoint import read_checkpoint
from wemoe_pl.system.files import atomic_write


class WholeFile(TorchCheckpointIO):
    """The plugin writes Lightning's checkpoints whole or not at all, and reads only intact ones.

    Args:
        on_written: a function that gets the path and the contents of a checkpoint once it is there.
    """

    def __init__(self, on_written: Callable[[Path, dict[str, Any]], None]):
        super().__init__()
        self.on_written = on_written

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Replace the file by a complete new one.

        Lightning's own way goes through the system's temporary folder, and leaves a file there if
        the process is killed.
        """
        with atomic_write(Path(path)) as temporary, temporary.open("wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # torch raises this if the disk is full
                raise (error.__context__ or error) from None
        self.on_written(Path(path), checkpoint)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint of this program onto the CPU; no code in it is run."""
        return read_checkpoint(Path(path))
