"""A LightningDataModule that knows again, when a fit goes on, the images that it has read."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerFn

from wemoe_pl.data.image_sets import ImageSets
from wemoe_pl.data.pixel_hashes import Contents
from wemoe_pl.data.streams import Batch, SeenBatch


class KnownImages(L.LightningDataModule):
    """Notes what images look like when they are read, and keeps it in checkpoints.

    Attributes:
        sets: the sets of images that are streamed and scored.
    """

    sets: ImageSets

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Note what the images of a batch look like, and compare them with what they were."""
        return noted(batch, self.sets.contents) if isinstance(batch, SeenBatch) else batch

    def state_dict(self) -> dict[str, Any]:
        """Return the checksums of the images that all processes have read."""
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        return {"contents": self.sets.contents.of_all_processes(device)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Expect the images of a fit that goes on to look as they did."""
        if self.trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            self.sets.contents.recall(state_dict.get("contents", {}))


def noted(batch: SeenBatch, contents: Contents) -> Batch:
    """Note what the images of a batch look like, and return it without that."""
    for seen in batch.seen:
        contents.note(seen)
    return dict(batch)
