"""A data module of one's own notes what it gives as ours do, and goes on where it was."""

from collections.abc import Callable

import lightning as L
import torch
from torch.utils.data import DataLoader

from wemoe_pl.data.image_sets import ImageSet, ImageSets
from wemoe_pl.data.noting import NotingData
from wemoe_pl.data.streams import SeenBatch, TaskBatches
from wemoe_pl.data.suite import Suite


class Own(NotingData):
    """The first images of one task."""

    def __init__(self, suite: Suite):
        super().__init__()
        wanted = ImageSet("cars", "test")
        self.sets = ImageSets(suite, streamed=[wanted], scored=[], cached=False)
        self.batches = TaskBatches("cars", self.sets.load(wanted))

    def train_dataloader(self) -> DataLoader[SeenBatch]:
        return DataLoader(self.batches, batch_size=None)


class Looking(L.LightningModule):
    """Notes the places of the images of its steps."""

    def training_step(self, batch: SeenBatch, batch_idx: int) -> torch.Tensor:
        seen = self.trainer.datamodule.origins.of(batch["cars"][0])  # type: ignore[attr-defined]
        self.places = [*getattr(self, "places", []), *seen.places]
        return torch.zeros((), requires_grad=True)

    def configure_optimizers(self) -> None:
        return None


def test_what_is_given_is_noted(tiny_suite: Suite, quiet_trainer: Callable[..., L.Trainer]) -> None:
    module, data = Looking(), Own(tiny_suite)
    quiet_trainer(max_steps=-1, max_epochs=1, limit_train_batches=3).fit(module, datamodule=data)
    assert module.places == [0, 1, 2]
    [known] = data.state_dict()["contents"].values()
    assert (known["hashes"][:3] != 0).all()
    assert not known["hashes"][3:].any()
