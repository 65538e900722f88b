"""Cut a batch into tiles: samples and hidden units that one thread computes together.

A tile is the merged weights of some hidden units for some samples, and their activations. It is
small enough to stay in a CPU's cache between merging and multiplying.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor

# The number of hidden units in a tile is a multiple of this: whole blocks of pruned task vectors.
TILE_UNITS = 96


class Budget(NamedTuple):
    """A budget says how many bytes a kernel may use, and from which size on it uses threads.

    Attributes:
        tile: the bytes for one tile: its merged weights of one of two layers, and its activations.
        kept: the bytes for hidden activations that are kept for the backward pass.
        sums: the bytes for outputs of threads that are summed up in the end.
        threaded: the multiply-adds with merged weights from which each thread has its own tiles.
    """

    tile: int
    kept: int
    sums: int
    threaded: int = 0


# Two tiles fit in the cache of a few cores; an accelerator is better served by few large products.
CPU_BUDGET = Budget(tile=6 * 2**20, kept=32 * 2**20, sums=16 * 2**20, threaded=2**30)
ACCELERATOR_BUDGET = Budget(tile=256 * 2**20, kept=2**30, sums=0)


def budget_for(x: Tensor) -> Budget:
    """Return the budget that suits the device of a batch."""
    return CPU_BUDGET if x.device.type == "cpu" else ACCELERATOR_BUDGET


class ThreadTiles(NamedTuple):
    """A `ThreadTiles` is the work of one thread: all its tiles for all its groups of samples.

    Attributes:
        tiles: the numbers of the tiles; see `Tiling.units_of`.
        groups: the samples of each group.
    """

    tiles: range
    groups: Sequence[slice]


@dataclass(frozen=True)
class Tiling:
    """A tiling says how the samples of a batch and the hidden units of an MLP are cut into tiles.

    Attributes:
        samples: B, the number of samples.
        hidden: H, the number of hidden units.
        group: the number of samples in a tile.
        units: the number of hidden units in a tile.
        threads: the number of threads that compute.
        splits_hidden: True if every thread has hidden units of its own, whose outputs are summed up
            in the end, rather than samples of its own.
    """

    samples: int
    hidden: int
    group: int
    units: int
    threads: int = 1
    splits_hidden: bool = False

    @classmethod
    def of(
        cls,
        samples: int,
        hidden: int,
        unit_bytes: int,
        budget: Budget,
        threads: int = 1,
        sum_bytes: int = 0,
        converted: int = 0,
    ) -> "Tiling":
        """Fit tiles to a budget: as many samples, at least one, as leave room for `TILE_UNITS`.

        Args:
            samples: B, the number of samples.
            hidden: H, the number of hidden units.
            unit_bytes: the bytes of a hidden unit for one sample: its weights in one layer, and its
                activations for the tokens.
            budget: the budget of the kernel.
            threads: the largest number of threads.
            sum_bytes: the bytes of the output of a thread that has hidden units of its own.
            converted: the number of copies of the weights of its hidden units that a tile holds in
                addition to the merged ones, because they were converted for it.

        >>> budget = Budget(tile=6 * 2**20, kept=0, sums=16 * 2**20)
        >>> Tiling.of(samples=128, hidden=3072, unit_bytes=4 * 768, budget=budget)
        Tiling(samples=128, hidden=3072, group=16, units=96, threads=1, splits_hidden=False)
        >>> Tiling.of(samples=1, hidden=3072, unit_bytes=4 * 768, budget=budget, threads=2)
        Tiling(samples=1, hidden=3072, group=1, units=1536, threads=2, splits_hidden=True)
        """
        block_bytes = TILE_UNITS * unit_bytes
        fit = max(1, budget.tile // block_bytes)
        most = 1 << (fit.bit_length() - 1)  # a power of 2, which torch's threads share evenly
        groups, blocks = ceil(samples / most) or 1, ceil(hidden / TILE_UNITS)
        splits_hidden = threads > 1 and (threads - 1) * sum_bytes <= budget.sums
        threads = min(threads, blocks if splits_hidden else groups)
        if not splits_hidden:
            groups = ceil(groups / threads) * threads
        group = ceil(samples / groups) or 1
        largest = budget.tile // ((group + converted) * block_bytes)
        sizes = range(1, 1 + min(blocks, max(1, largest)))
        sharing = threads if splits_hidden else 1
        size = min(sizes, key=lambda size: (busiest(blocks, size, sharing), -size))
        units = min(TILE_UNITS * size, hidden)
        return cls(samples, hidden, group, units, threads, splits_hidden and threads > 1)

    def units_of(self, tile: int) -> slice:
        """Return the hidden units of a tile."""
        return slice(tile * self.units, (tile + 1) * self.units)

    def by_thread(self) -> list[ThreadTiles]:
        """Return the work of each thread."""
        tiles = range(ceil(self.hidden / self.units))
        starts = range(0, self.samples, self.group)
        groups = [slice(i, min(i + self.group, self.samples)) for i in starts]
        turns = [slice(i, None, self.threads) for i in range(self.threads)]
        if self.splits_hidden:
            return [ThreadTiles(tiles[turn], groups) for turn in turns]
        return [ThreadTiles(tiles, groups[turn]) for turn in turns]

    def sums(self, like: Tensor, dtype: torch.dtype | None = None) -> list[Tensor]:
        """Return zeros for each thread to add to, shared unless threads split the hidden units."""
        zeros = torch.zeros_like(like, dtype=dtype)
        others = range(self.threads - 1)
        return [zeros, *(torch.zeros_like(zeros) if self.splits_hidden else zeros for _ in others)]

    def total(self, sums: Sequence[Tensor]) -> Tensor:
        """Add the sums of all threads to the first of them, and return it."""
        for other in sums[1:] if self.splits_hidden else ():
            sums[0].add_(other)
        return sums[0]


def busiest(blocks: int, size: int, threads: int) -> int:
    """Return the blocks of the busiest thread, if threads take turns at tiles of `size` blocks.

    >>> [busiest(32, size, threads=4) for size in (1, 2, 3)]
    [8, 8, 9]
    """
    tiles = ceil(blocks / size)
    lacking = tiles * size - blocks  # the blocks that the last tile lacks
    is_last = tiles % threads == 1 % threads  # True if the first thread has the last tile
    return ceil(tiles / threads) * size - (lacking if is_last else 0)
