"""The part of a data module that knows the images which it gives."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerFn

from wemoe_pl.data.image_sets import ImageSets
from wemoe_pl.data.origins import Origins, noted
from wemoe_pl.data.streams import SeenBatch


class NotingData(L.LightningDataModule):
    """A data module that notes which images are in a batch, and what they look like.

    Attributes:
        sets: the sets of images that it gives.
        origins: knows which images the tensors of a batch hold.
    """

    sets: ImageSets

    def __init__(self) -> None:
        super().__init__()
        self.origins = Origins()

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Note what the images of a batch look like, and compare them with what they were."""
        if not isinstance(batch, SeenBatch):
            return batch
        return noted(batch, self.sets.contents, self.origins)

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Move a batch to a device, where its images stay known."""
        moved = super().transfer_batch_to_device(batch, device, dataloader_idx)
        self.origins.follow(batch, moved)
        return moved

    def state_dict(self) -> dict[str, Any]:
        """Return the checksums of the images that all processes have read."""
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        return {"contents": self.sets.contents.of_all_processes(device)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Expect the images of a fit that goes on to look as they did."""
        if self.trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            self.sets.contents.recall(state_dict.get("contents", {}))
