"""The order in which a loader takes images, and the share of them that each process has."""

import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np
from torch.utils.data import DistributedSampler, SequentialSampler


class Share(NamedTuple):
    """The part of the work that is this process's.

    Attributes:
        rank: its number, from 0.
        processes: how many there are.
    """

    rank: int = 0
    processes: int = 1

    def of_batch(self, indices: Sequence[int]) -> Sequence[int]:
        """Return the share of a batch that splits evenly; the shares of all ranks are the batch.

        >>> Share(1, 2).of_batch([5, 3, 8, 1])
        [8, 1]
        """
        size = len(indices) // self.processes
        return indices[self.rank * size : (self.rank + 1) * size]


ALONE = Share()


def places_of_few(size: int, count: int | None, name: str) -> list[int]:
    """Choose the places of a few of so many images, the same in every run, in their order.

    They are drawn at random, since an even stride may meet images of one class only.

    Args:
        size: the number of images.
        count: how many are chosen: all if there are fewer, or if it is None.
        name: of the set, another of which has other places.

    >>> places_of_few(100, 4, "mnist") == places_of_few(100, 4, "mnist")
    True
    """
    stream = np.random.default_rng(zlib.crc32(name.encode()))
    return sorted(stream.permutation(size)[:count].tolist())


class OwnOrder(SequentialSampler, DistributedSampler[int]):
    """A sampler that goes through numbers in order, and deals them out to the processes itself.

    It is of both kinds that Lightning leaves alone: in the place of any other it puts a distributed
    one where there are several processes, and a sequential one to overfit a few batches.

    Args:
        size: how many numbers there are.
        share: which of them are this process's.
    """

    def __init__(self, size: int, share: Share = ALONE):
        SequentialSampler.__init__(self, range(size))
        DistributedSampler.__init__(
            self,
            range(size),  # type: ignore[arg-type]  # it is asked for nothing but its length
            num_replicas=share.processes,
            rank=share.rank,
            shuffle=False,
        )


class CountFrom(OwnOrder):
    """Counts up without end: the trainer's limits decide when to stop.

    Every process counts alike, and takes its share of each batch.

    Args:
        start: the number that counting begins with, asked for whenever an epoch begins.
    """

    def __init__(self, start: Callable[[], int]):
        super().__init__(size=0)
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
        super().__init__(size, share)
        left = [start for start in range(0, size, batch_size) if start not in done]
        mine = left[share.rank :: share.processes]
        batches = (range(start, min(start + batch_size, size)) for start in mine)
        self.indices = [index for batch in batches for index in batch]

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)
