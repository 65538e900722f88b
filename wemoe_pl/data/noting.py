"""Define the part of a data module that records which images it gives."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerFn

from wemoe_pl.data.image_sets import ImageSets
from wemoe_pl.data.origins import Origins, noted
from wemoe_pl.data.streams import SeenBatch


class NotingData(L.LightningDataModule):
    """`NotingData` is a data module that records which images a batch has, and their hashes.

    Attributes:
        sets: the sets of images that the data module gives.
        origins: the record of which images the tensors of a batch hold.
    """

    sets: ImageSets

    def __init__(self) -> None:
        super().__init__()
        self.origins = Origins()

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Record the hashes of a batch's images, and compare them with those recorded before."""
        if not isinstance(batch, SeenBatch):
            return batch
        return noted(batch, self.sets.contents, self.origins)

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Move a batch to a device, and keep the record of which images it has."""
        moved = super().transfer_batch_to_device(batch, device, dataloader_idx)
        self.origins.follow(batch, moved)
        return moved

    def state_dict(self) -> dict[str, Any]:
        """Return the hashes of the images that all processes have read."""
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        return {"contents": self.sets.contents.of_all_processes(device)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Expect the same images as before if a fit is resumed."""
        if self.trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            self.sets.contents.recall(state_dict.get("contents", {}))
