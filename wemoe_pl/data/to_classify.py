"""The images that `predict` classifies, in their order, without those that it has answered."""

from collections.abc import Collection
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from wemoe_pl.data.preprocessing import Preprocessing
from wemoe_pl.data.samplers import Share, WholeBatches
from wemoe_pl.data.tasks import Images, find_images, is_fault_of_disk
from wemoe_pl.errors import ConfigError, DataError


class NamedImage(NamedTuple):
    """An image to classify.

    Attributes:
        place: among all.
        name: its path, or its row.
        image: as an encoder takes it, (3, H, W); None if it cannot be read.
        error: why it cannot be read.
    """

    place: int
    name: str
    image: Tensor | None
    error: str | None = None


class NamedBatch(NamedTuple):
    """Images to classify.

    Attributes:
        first: the place of the first among all.
        names: of all images of the batch.
        errors: why an image cannot be read; None for each that can.
        images: those that can, (B, 3, H, W).
    """

    first: int
    names: list[str]
    errors: list[str | None]
    images: Tensor


class NamedImages(Dataset[NamedImage]):
    """Images as an encoder takes them, with their names, or with the reason why one is missing."""

    def __init__(self, images: Images, preprocessing: Preprocessing):
        self.images = images
        self.preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> NamedImage:
        name = self.images.name(index)
        try:
            return NamedImage(index, name, self.preprocessing(self.images[index][0]))
        except DataError as error:
            if is_fault_of_disk(error):
                raise
            return NamedImage(index, name, None, str(error))


def collate_named(items: list[NamedImage]) -> NamedBatch:
    """Some images in their order → a batch."""
    readable = [item.image for item in items if item.image is not None]
    return NamedBatch(
        first=items[0].place,
        names=[item.name for item in items],
        errors=[item.error for item in items],
        images=torch.stack(readable) if readable else torch.empty(0),
    )


class ToClassify:
    """The images that `predict` classifies, in their order.

    Args:
        source: a folder, a pattern or parquet files; None if there is nothing to predict.
        preprocessing: makes of an image what the encoder takes.
        batch_size: images per batch.
        num_workers: processes that load images; 0 loads them in the main one.
    """

    def __init__(
        self, source: str | None, preprocessing: Preprocessing, batch_size: int, num_workers: int
    ):
        self.source = source
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.num_workers = num_workers
        self._answered: Collection[int] = ()

    @cached_property
    def images(self) -> Images:
        """The images, in the order of their paths or rows."""
        if self.source is None:
            raise ConfigError(
                "There is nothing to predict: give a folder, a pattern or parquet files with "
                "--data.images."
            )
        return find_images(self.source)

    @property
    def batches(self) -> range:
        """The place of the first image of each batch."""
        return range(0, len(self.images), self.batch_size)

    def leave_out(self, answered: Collection[int]) -> None:
        """Leave out the batches whose first images are these: they are answered already."""
        self._answered = answered

    def loader(self, share: Share) -> DataLoader[NamedImage]:
        """A process's share of what is not answered yet."""
        return DataLoader(
            NamedImages(self.images, self.preprocessing),
            sampler=WholeBatches(len(self.images), self.batch_size, share, self._answered),
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            collate_fn=collate_named,
        )
