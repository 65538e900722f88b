"""Load the images of a unit of work in batches, and take the time."""

import time
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from wemoe_pl.data.preprocessing import Pixels, Preprocessing
from wemoe_pl.data.shards.plan import ShardError
from wemoe_pl.data.shards.reading import PlannedImages
from wemoe_pl.data.tasks import is_fault_of_disk
from wemoe_pl.data.to_classify import NamedBatch
from wemoe_pl.errors import DataError


class TimedBatch(NamedTuple):
    """A `TimedBatch` has some images to classify, and the time that reading them has taken.

    Attributes:
        named: the images with their names.
        seconds: the seconds that reading, decoding and preparing the images has taken.
    """

    named: NamedBatch
    seconds: float


class UnitBatches(Dataset[TimedBatch]):
    """`UnitBatches` are the batches of a unit: item 0 has its first images.

    Args:
        images: the images of the unit.
        preprocessing: the preprocessing that turns an image into the encoder's input.
        batch_size: the number of images per batch.
    """

    def __init__(self, images: PlannedImages, preprocessing: Preprocessing, batch_size: int):
        self.images = images
        self.preprocessing = preprocessing
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch_size)

    def __getitem__(self, index: int) -> TimedBatch:
        began = time.perf_counter()
        first = index * self.batch_size
        places = range(first, min(first + self.batch_size, len(self.images)))
        read = [self._read(place) for place in places]
        named = NamedBatch(
            first=first,
            names=[self.images.name(place) for place in places],
            errors=[each if isinstance(each, str) else None for each in read],
            images=self._prepared([each for each in read if not isinstance(each, str)]),
        )
        return TimedBatch(named, time.perf_counter() - began)

    def _read(self, place: int) -> Pixels | str:
        """Return the pixels of an image, or the reason why it cannot be read."""
        try:
            return self.preprocessing.pixels(self.images[place])
        except ShardError:
            raise
        except DataError as error:
            if is_fault_of_disk(error):
                raise
            return str(error)

    def _prepared(self, pixels: list[Pixels]) -> Tensor:
        return self.preprocessing.normalise(np.stack(pixels)) if pixels else torch.empty(0)


def unit_loader(batches: UnitBatches, workers: int, pinned: bool) -> DataLoader[TimedBatch]:
    """Return a loader of the batches of a unit, in order.

    Args:
        batches: the batches.
        workers: the number of processes that load images; 0 loads them in the main process.
        pinned: True to put batches where they can be copied to a GPU at once.
    """
    return DataLoader(
        batches, batch_size=None, num_workers=min(workers, len(batches)), pin_memory=pinned
    )
