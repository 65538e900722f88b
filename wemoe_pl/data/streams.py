"""Streams to train or adapt on, ordered images to score, and the share of each that a process has.

Batches of a stream follow from (seed, step) alone: not from the number of workers or processes, nor
from when a run was interrupted. A resumed run therefore sees the images that it would have seen.
"""

import hashlib
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler, SequentialSampler

from wemoe_pl.data.pixel_cache import PixelFile
from wemoe_pl.data.preprocessing import Pixels, Preprocessing
from wemoe_pl.data.tasks import Images, is_fault_of_disk
from wemoe_pl.errors import DataError

LabelledImage = tuple[Tensor, int]
LabelledBatch = tuple[Tensor, Tensor]
Batch = dict[str, LabelledBatch]


class Seen(NamedTuple):
    """What some images looked like when they were read.

    Attributes:
        name: of the set of images that they are from.
        places: of each among all of the set.
        hashes: of the pixels of each, from 1 to 2⁶³ - 1.
    """

    name: str
    places: list[int]
    hashes: list[int]


class SeenBatch(Batch):
    """A batch that says what its images looked like; see `contents`.

    Args:
        batch: images and labels by task.
        seen: what was read for it.
    """

    def __init__(self, batch: Batch, seen: Sequence[Seen] = ()):
        super().__init__(batch)
        self.seen = list(seen)


class Share(NamedTuple):
    """The part of the work that is this process's.

    Attributes:
        rank: its number, from 0.
        processes: how many there are.
    """

    rank: int = 0
    processes: int = 1

    def of_batch(self, indices: Sequence[int]) -> Sequence[int]:
        """Its part of a batch that splits evenly: all parts in the order of ranks are the batch.

        >>> Share(1, 2).of_batch([5, 3, 8, 1])
        [8, 1]
        """
        size = len(indices) // self.processes
        return indices[self.rank * size : (self.rank + 1) * size]


ALONE = Share()


class PreparedImages(Dataset[LabelledImage]):
    """The images of a split as an encoder takes them, with their labels.

    Args:
        images: the split.
        preprocessing: how they are resized, cropped and normalised.
        pixels: the result of the first half of it, if it was kept.
        name: what `Seen` calls the split.
    """

    def __init__(
        self,
        images: Images,
        preprocessing: Preprocessing,
        pixels: PixelFile | None = None,
        name: str = "",
    ):
        self.images = images
        self.preprocessing = preprocessing
        self.pixels = pixels
        self.name = name

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> LabelledImage:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[LabelledImage]:
        """Some of them: what torch's loader asks for, where there is such a method."""
        images, labels = self.batch(indices)
        return list(zip(images, labels.tolist(), strict=True))

    def batch(self, indices: Sequence[int]) -> LabelledBatch:
        """Some of them, (B, 3, H, W), and their labels, (B)."""
        return self.read(indices)[0]

    def of_task(self, task: str, indices: Sequence[int]) -> SeenBatch:
        """Some of them as a batch that names their task and says what they looked like."""
        batch, seen = self.read(indices)
        return SeenBatch({task: batch}, [seen])

    def read(self, indices: Sequence[int]) -> tuple[LabelledBatch, Seen]:
        """Some of them with their labels, and what they looked like."""
        pixels = np.stack([self._pixels(index) for index in indices])
        labels = torch.tensor([self.images.labels[index] for index in indices])
        seen = Seen(self.name, list(indices), [hash_of(each) for each in pixels])
        return (self.preprocessing.normalise(pixels), labels), seen

    def _pixels(self, index: int) -> Pixels:
        if self.pixels is not None:
            return self.pixels[index]
        return self.preprocessing.pixels(self.images[index][0])


def hash_of(pixels: Pixels) -> int:
    """A number from 1 to 2⁶³ - 1 by which the pixels of an image are known again."""
    digest = hashlib.blake2b(pixels.tobytes(), digest_size=8).digest()
    return max(1, int.from_bytes(digest, "little") >> 1)


class TaskImages(Dataset[SeenBatch]):
    """The images of one task, of which some are taken at once as a batch that names it."""

    def __init__(self, task: str, images: PreparedImages):
        self.task = task
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> SeenBatch:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> SeenBatch:
        """Some of them: what torch's loader asks for, where there is such a method."""
        return self.images.of_task(self.task, indices)


class NoTask(Dataset[Batch]):
    """A single batch, of no task: for a process that has no share of the images to score."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Batch:
        return {}


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


class StepBatches(Dataset[Batch]):
    """Item i is the i-th batch of an endless stream: per task, shuffled images and their labels.

    Every task is gone through in a new random order each epoch, seeded by (seed, task, epoch).
    When a step is split into groups of tasks (gradient accumulation), its groups follow one
    another: item i is group i mod G of step i div G.
    """

    def __init__(
        self,
        tasks: Mapping[str, PreparedImages],
        batch_size: int,
        tasks_per_batch: int,
        seed: int,
        share: Share = ALONE,
    ):
        self.tasks = dict(tasks)
        self.batch_size = batch_size
        self.groups = [
            list(self.tasks)[start : start + tasks_per_batch]
            for start in range(0, len(self.tasks), tasks_per_batch)
        ]
        self.seed = seed
        self.share = share

    def __getitem__(self, index: int) -> Batch:
        step, group = divmod(index, len(self.groups))
        read = {
            task: self.tasks[task].read(self.share.of_batch(self.indices(task, step)))
            for task in self.groups[group]
        }
        batch = {task: labelled for task, (labelled, _) in read.items()}
        return SeenBatch(batch, [seen for _, seen in read.values()])

    def indices(self, task: str, step: int) -> list[int]:
        """Which images of a task step `step` uses, in all processes together."""
        size = len(self.tasks[task])
        positions = range(step * self.batch_size, (step + 1) * self.batch_size)
        epochs = range(positions[0] // size, positions[-1] // size + 1)
        orders = {epoch: self._order(task, epoch) for epoch in epochs}
        return [int(orders[p // size][p % size]) for p in positions]

    def _order(self, task: str, epoch: int) -> NDArray[np.int64]:
        stream = np.random.default_rng([self.seed, zlib.crc32(task.encode()), epoch])
        return stream.permutation(len(self.tasks[task]))


class OwnOrder(SequentialSampler, DistributedSampler[int]):
    """A sampler that knows its order and the processes of the run already.

    Lightning puts others in the place of samplers that are neither sequential nor distributed.
    """


class CountFrom(OwnOrder):
    """Counts up without end: the trainer's limits decide when to stop.

    Every process counts alike, and takes its share of each batch.

    Args:
        start: the number that counting begins with, asked for whenever an epoch begins.
    """

    def __init__(self, start: Callable[[], int]):
        self.start = start

    def __iter__(self) -> Iterator[int]:
        return count(self.start())

    def __len__(self) -> int:
        raise TypeError("There is no last step.")


class WholeBatches(OwnOrder):
    """The images of a process that scores every k-th batch: none is cut, padded or seen twice.

    An encoder therefore sees the very batches that it would see in one process.

    Args:
        size: number of images.
        batch_size: of all batches but perhaps the last.
        share: which batches are this process's.
        done: the first image of every batch that is left out.

    >>> list(WholeBatches(7, 2, Share(1, 2)))
    [2, 3, 6]
    >>> list(WholeBatches(7, 2, Share(1, 2), done={0}))
    [4, 5]
    """

    def __init__(self, size: int, batch_size: int, share: Share, done: Collection[int] = ()):
        left = [start for start in range(0, size, batch_size) if start not in done]
        mine = left[share.rank :: share.processes]
        batches = (range(start, min(start + batch_size, size)) for start in mine)
        self.indices = [index for batch in batches for index in batch]

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)
