"""Make batches of prepared images: endless streams to train or adapt on, or ordered batches.

The batches of a stream depend on (seed, step) only: neither on the number of workers or processes,
nor on when a run was interrupted. A resumed run therefore sees the same images as one that was not
interrupted.
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
    """A `Seen` records which images of a set were read, and the hashes of their pixels.

    Attributes:
        name: the name of the set of images.
        places: the place of each image in the set.
        hashes: the hash of each image's pixels, from 1 to 2⁶³ - 1.
    """

    name: str
    places: list[int]
    hashes: list[int]


class SeenBatch(Batch):
    """A `SeenBatch` is a batch that records what its images looked like; see `pixel_hashes`.

    Args:
        batch: the images and labels by task.
        seen: the records of the images that were read for the batch.
    """

    def __init__(self, batch: Batch, seen: Sequence[Seen] = ()):
        super().__init__(batch)
        self.seen = list(seen)


@dataclass(frozen=True, eq=False)
class PreparedImages(Dataset[LabelledImage]):
    """`PreparedImages` gives the images of a split as an encoder takes them, with their labels.

    Args:
        images: the images of the split.
        preprocessing: the preprocessing that resizes, crops and normalises the images.
        pixels: the resized and cropped images, if they are cached on disk.
        name: the name of the split in a `Seen`.
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
        """Return several labelled images: torch's loader prefers this to `__getitem__`."""
        (images, labels), _ = self.read(indices)
        return list(zip(images, labels.tolist(), strict=True))

    def read(self, indices: Sequence[int]) -> tuple[LabelledBatch, Seen]:
        """Return several images, (B, C, H, W), their labels, (B), and the record of them."""
        pixels = np.stack([self._pixels(index) for index in indices])
        labels = torch.tensor([self.images.labels[index] for index in indices])
        seen = Seen(self.name, list(indices), [hash_of(image) for image in pixels])
        return (self.preprocessing.normalise(pixels), labels), seen

    def _pixels(self, index: int) -> Pixels:
        if self.pixels is not None:
            return self.pixels[index]
        return self.preprocessing.pixels(self.images[index][0])


def hash_of(pixels: Pixels) -> int:
    """Return the hash of an image's pixels, from 1 to 2⁶³ - 1; 0 is for an unread image."""
    digest = hashlib.blake2b(pixels.tobytes(), digest_size=8).digest()
    return max(1, int.from_bytes(digest, "little") >> 1)


class TaskBatches(Dataset[SeenBatch]):
    """`TaskBatches` gives several images of one task at once, as a batch that names the task.

    Args:
        task: the name of the task.
        images: the images of the task.
        places: the places of the images that are used; by default all.
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
        """Return several images as one batch: torch's loader calls this for a whole batch."""
        batch, seen = self.images.read([self.places[index] for index in indices])
        return SeenBatch({self.task: batch}, [seen])


class NoTask(Dataset[Batch]):
    """`NoTask` is a data set of one batch without a task, for a process with nothing to score."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Batch:
        return {}


class StepBatches(Dataset[Batch]):
    """`StepBatches` is an endless stream of batches of shuffled, labelled images by task.

    Every epoch takes the images of a task in a new random order, seeded by (seed, task, epoch).
    If a step is split into G groups of tasks (gradient accumulation), its groups follow one
    another: item i is group i mod G of step i div G.

    Args:
        tasks: the images of each task.
        batch_size: the number of images per task and step.
        tasks_per_batch: the number of tasks in a group.
        seed: the seed of the order of the images.
        share: the share of every batch that this process gets.
        places: the places of the images of each task that are streamed; by default all.
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
        """Return the first images of every task's stream, at most `count` of each, (N, C, H, W)."""
        found = {}
        for task, places in self.places.items():
            positions = range(min(count, len(places)))
            (found[task], _), _ = self.tasks[task].read(self.indices_at(task, positions))
        return found

    def indices(self, task: str, step: int) -> list[int]:
        """Return the indices of a task's images in a step, for all processes together."""
        return self.indices_at(task, self.positions(task, step))

    def indices_at(self, task: str, positions: range) -> list[int]:
        """Return the indices of a task's images at positions counted from the stream's start."""
        places = self.places[task]
        epochs = {position // len(places) for position in positions}
        orders = {epoch: shuffled(len(places), self.seed, task, epoch) for epoch in epochs}
        return [int(places[orders[p // len(places)][p % len(places)]]) for p in positions]

    def positions(self, task: str, step: int) -> range:
        """Return the positions of a step's images of a task, counted from the stream's start."""
        return range(step * self.batch_size, (step + 1) * self.batch_size)


def shuffled(size: int, seed: int, task: str, epoch: int) -> NDArray[np.int64]:
    """Return the random order of a task's `size` images in an epoch, (size,)."""
    return np.random.default_rng([seed, zlib.crc32(task.encode()), epoch]).permutation(size)
