"""Load the images that `predict` classifies, in order, and skip those already answered."""

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
    """A `NamedImage` is an image to classify, or the reason why it cannot be read.

    Attributes:
        place: the place of the image among all images.
        name: the path of the image, or its row.
        image: the image as an encoder takes it, (C, H, W); None if it cannot be read.
        error: the reason why the image cannot be read; None if it can.
    """

    place: int
    name: str
    image: Tensor | None
    error: str | None = None


class NamedBatch(NamedTuple):
    """A `NamedBatch` has some images to classify, and the names of all of them.

    Attributes:
        first: the place of the first image of the batch among all images.
        names: the names of all images of the batch.
        errors: the reason why each image cannot be read; None for an image that can.
        images: the images that can be read, (B, C, H, W); an empty tensor if none can.
    """

    first: int
    names: list[str]
    errors: list[str | None]
    images: Tensor


class NamedImages(Dataset[NamedImage]):
    """`NamedImages` gives images as an encoder takes them, or says why one cannot be read."""

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
    """Return images to classify as one batch, in their order."""
    readable = [item.image for item in items if item.image is not None]
    return NamedBatch(
        first=items[0].place,
        names=[item.name for item in items],
        errors=[item.error for item in items],
        images=torch.stack(readable) if readable else torch.empty(0),
    )


class ToClassify:
    """`ToClassify` has the images that `predict` classifies, in their order.

    Args:
        source: a folder, a pattern or parquet files; None if there is nothing to predict.
        preprocessing: the preprocessing that turns an image into the encoder's input.
        batch_size: the number of images per batch.
        num_workers: the number of processes that load images; 0 loads them in the main process.
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
        """Return the images, in the order of their paths or rows."""
        if self.source is None:
            raise ConfigError(
                "There is nothing to predict: give a folder, a pattern or parquet files with "
                "--data.images."
            )
        return find_images(self.source)

    @property
    def batches(self) -> range:
        """Return the place of the first image of each batch."""
        return range(0, len(self.images), self.batch_size)

    def leave_out(self, answered: Collection[int]) -> None:
        """Leave out answered batches, which are given by the places of their first images."""
        self._answered = answered

    def loader(self, share: Share) -> DataLoader[NamedImage]:
        """Return a loader of one process's share of the images that are not answered yet."""
        return DataLoader(
            NamedImages(self.images, self.preprocessing),
            sampler=WholeBatches(len(self.images), self.batch_size, share, self._answered),
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            collate_fn=collate_named,
        )
