"""Batches of images as an encoder takes them: streams to train or adapt on, and ordered ones.

Batches of a stream follow from (seed, step) alone: not from the number of workers or processes, nor
from when a run was interrupted. A resumed run therefore sees the images that it would have seen.
"""

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from wemoe_pl.data.pixel_cache import PixelFile
from wemoe_pl.data.preprocessing import Pixels, Preprocessing
from wemoe_pl.data.samplers import ALONE, Share
from wemoe_pl.data.tasks import Images

LabelledImage = tuple[Tensor, int]
LabelledBatch = tuple[Tensor, Tensor]
Batch = dict[str, LabelledBatch]


class Seen(NamedTuple):
    """A record of how images looked when they were read.

    Attributes:
        name: of the set of images that they are from.
        places: of each among all of the set.
        hashes: of the pixels of each, from 1 to 2⁶³ - 1.
    """

    name: str
    places: list[int]
    hashes: list[int]


class SeenBatch(Batch):
    """A batch that says what its images looked like; see `pixel_hashes`.

    Args:
        batch: images and labels by task.
        seen: what was read for it.
    """

    def __init__(self, batch: Batch, seen: Sequence[Seen] = ()):
        super().__init__(batch)
        self.seen = list(seen)


@dataclass(frozen=True, eq=False)
class PreparedImages(Dataset[LabelledImage]):
    """The images of a split as an encoder takes them, with their labels.

    Args:
        images: the split.
        preprocessing: how they are resized, cropped and normalised.
        pixels: the result of the first half of it, if it was kept.
        name: what `Seen` calls the split.
    """

    images: Images
    preprocessing: Preprocessing
    pixels: PixelFile | None = None
    name: str = ""

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> LabelledImage:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[LabelledImage]:
        """Several images at once: what torch's loader asks for, where there is such a method."""
        (images, labels), _ = self.read(indices)
        return list(zip(images, labels.tolist(), strict=True))

    def read(self, indices: Sequence[int]) -> tuple[LabelledBatch, Seen]:
        """Several images, (B, 3, H, W), their labels, (B), and what they looked like."""
        pixels = np.stack([self._pixels(index) for index in indices])
        labels = torch.tensor([self.images.labels[index] for index in indices])
        seen = Seen(self.name, list(indices), [hash_of(image) for image in pixels])
        return (self.preprocessing.normalise(pixels), labels), seen

    def _pixels(self, index: int) -> Pixels:
        if self.pixels is not None:
            return self.pixels[index]
        return self.preprocessing.pixels(self.images[index][0])


def hash_of(pixels: Pixels) -> int:
    """A number from 1 to 2⁶³ - 1 by which the pixels of an image are known again."""
    digest = hashlib.blake2b(pixels.tobytes(), digest_size=8).digest()
    return max(1, int.from_bytes(digest, "little") >> 1)


class TaskBatches(Dataset[SeenBatch]):
    """The images of one task, of which some are taken at once as a batch that names it.

    Args:
        task: its name.
        images: of the task.
        places: of the images that are meant; by default all.
    """

    def __init__(self, task: str, images: PreparedImages, places: Sequence[int] | None = None):
        self.task = task
        self.images = images
        self.places = range(len(images)) if places is None else places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> SeenBatch:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> SeenBatch:
        """Several images as one batch: what torch's loader asks for."""
        batch, seen = self.images.read([self.places[index] for index in indices])
        return SeenBatch({self.task: batch}, [seen])


class NoTask(Dataset[Batch]):
    """A single batch, of no task: for a process that has no share of the images to score."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Batch:
        return {}


class StepBatches(Dataset[Batch]):
    """Item i is the i-th batch of an endless stream: per task, shuffled images and their labels.

    Every task is gone through in a new random order each epoch, seeded by (seed, task, epoch).
    When a step is split into groups of tasks (gradient accumulation), its groups follow one
    another: item i is group i mod G of step i div G.

    Args:
        tasks: the images of each.
        batch_size: images per task and step.
        tasks_per_batch: how many tasks a group has.
        seed: of the order of the images.
        share: the share of every batch that this process has.
        places: per task, those of the images that are gone through; by default all.
    """

    def __init__(
        self,
        tasks: Mapping[str, PreparedImages],
        batch_size: int,
        tasks_per_batch: int,
        seed: int,
        share: Share = ALONE,
        places: Mapping[str, NDArray[np.int64]] | None = None,
    ):
        self.tasks = dict(tasks)
        self.batch_size = batch_size
        names, starts = list(tasks), range(0, len(tasks), tasks_per_batch)
        self.groups = [names[start : start + tasks_per_batch] for start in starts]
        self.seed = seed
        self.share = share
        self.places = places or {task: np.arange(len(images)) for task, images in tasks.items()}

    def __getitem__(self, index: int) -> Batch:
        step, group = divmod(index, len(self.groups))
        wanted = {task: self.indices(task, step) for task in self.groups[group]}
        read = {
            task: self.tasks[task].read(self.share.of_batch(indices))
            for task, indices in wanted.items()
            if indices
        }
        batch = {task: labelled for task, (labelled, _) in read.items()}
        return SeenBatch(batch, [seen for _, seen in read.values()])

    def first(self, count: int) -> dict[str, Tensor]:
        """Return the first images of every task's stream, at most `count` of each, (N, 3, H, W)."""
        found = {}
        for task, places in self.places.items():
            positions = range(min(count, len(places)))
            (found[task], _), _ = self.tasks[task].read(self.indices_at(task, positions))
        return found

    def indices(self, task: str, step: int) -> list[int]:
        """Return the indices of a task's images in step `step`, of all processes together."""
        return self.indices_at(task, self.positions(task, step))

    def indices_at(self, task: str, positions: range) -> list[int]:
        """Return the indices of a task's images at positions that count from the stream's start."""
        places = self.places[task]
        epochs = {position // len(places) for position in positions}
        orders = {epoch: shuffled(len(places), self.seed, task, epoch) for epoch in epochs}
        return [int(places[orders[p // len(places)][p % len(places)]]) for p in positions]

    def positions(self, task: str, step: int) -> range:
        """Return which images of a task a step has, counted from the beginning of the stream."""
        return range(step * self.batch_size, (step + 1) * self.batch_size)


def shuffled(size: int, seed: int, task: str, epoch: int) -> NDArray[np.int64]:
    """Return the order in which an epoch goes through so many images of a task."""
    return np.random.default_rng([seed, zlib.crc32(task.encode()), epoch]).permutation(size)
