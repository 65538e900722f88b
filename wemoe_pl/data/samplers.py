"""Define the order in which a loader takes images, and each process's share of them."""

import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np
from torch.utils.data import DistributedSampler, SequentialSampler


class Share(NamedTuple):
    """A `Share` says which part of the work this process does.

    Attributes:
        rank: the number of this process, from 0.
        processes: the number of all processes.
    """

    rank: int = 0
    processes: int = 1

    def of_batch(self, indices: Sequence[int]) -> Sequence[int]:
        """Return this process's part of a batch; the parts of all ranks, in order, are the batch.

        The batch must split evenly over the processes.

        >>> Share(1, 2).of_batch([5, 3, 8, 1])
        [8, 1]
        """
        size = len(indices) // self.processes
        return indices[self.rank * size : (self.rank + 1) * size]


ALONE = Share()


def places_of_few(size: int, count: int | None, name: str) -> list[int]:
    """Choose the places of a few of `size` images, sorted, and the same in every run.

    They are drawn at random, since an even stride may hit images of one class only.

    Args:
        size: the number of images.
        count: the number of chosen images: all if there are fewer, or if it is None.
        name: the name of the set of images, which seeds the choice.

    >>> places_of_few(100, 4, "mnist") == places_of_few(100, 4, "mnist")
    True
    """
    stream = np.random.default_rng(zlib.crc32(name.encode()))
    return sorted(stream.permutation(size)[:count].tolist())


class OwnOrder(SequentialSampler, DistributedSampler[int]):
    """`OwnOrder` is the base of samplers that Lightning does not replace by its own.

    Lightning replaces any other sampler: by a distributed one if there are several processes, and
    by a sequential one to overfit a few batches. Therefore `OwnOrder` is of both kinds.

    Args:
        size: the number of images.
        share: the share of the images that this process gets.
    """

    def __init__(self, size: int, share: Share = ALONE):
        SequentialSampler.__init__(self, range(size))
        DistributedSampler.__init__(
            self,
            range(size),  # type: ignore[arg-type]  # only its length is used
            num_replicas=share.processes,
            rank=share.rank,
            shuffle=False,
        )


class CountFrom(OwnOrder):
    """`CountFrom` counts up without end: the trainer's limits decide when to stop.

    Every process counts the same numbers, and takes its share of each batch.

    Args:
        start: a function that returns the first number; it is called whenever an epoch begins.
    """

    def __init__(self, start: Callable[[], int]):
        super().__init__(size=0)
        self.start = start

    def __iter__(self) -> Iterator[int]:
        return count(self.start())

    def __len__(self) -> int:
        raise TypeError("There is no last step.")


class WholeBatches(OwnOrder):
    """`WholeBatches` gives one of k processes every k-th batch; none is cut, padded or repeated.

    An encoder therefore sees the same batches as in a single process.

    Args:
        size: the number of images.
        batch_size: the size of all batches except perhaps the last.
        share: the share of the batches that this process gets.
        done: the place of the first image of every batch that is left out.

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
