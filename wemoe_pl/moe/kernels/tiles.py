"""What is computed together: tiles of some samples and some hidden entries, and who computes them.

A tile is what some samples' merged weights of some hidden entries take: small enough to stay in a
CPU's cache between being merged and being multiplied.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor

LINES = 96  # hidden entries of a tile, at least: a whole number of blocks of sparse task vectors


class Room(NamedTuple):
    """What may be used, in bytes unless told otherwise.

    Attributes:
        tile: for the merged weights of one tile, of one of the two layers.
        kept: for hidden activations to wait for the backward pass.
        sums: for outputs that threads sum up apart.
        alone: multiply-adds with merged weights from which on threads go their own ways.
    """

    tile: int
    kept: int
    sums: int
    alone: int = 0


# Two tiles fit in the cache of a few cores; an accelerator is better served by few large products.
CPU_ROOM = Room(tile=6 * 2**20, kept=32 * 2**20, sums=16 * 2**20, alone=2**30)
ACCELERATOR_ROOM = Room(tile=256 * 2**20, kept=2**30, sums=0)


class Part(NamedTuple):
    """What one thread computes: all tiles of some hidden entries and some samples.

    Attributes:
        number: which of the parts this is.
        tiles: numbers of tiles; the hidden entries of tile i begin at i · `Tiling.lines`.
        groups: samples, some at a time.
    """

    number: int
    tiles: range
    groups: Sequence[slice]


@dataclass(frozen=True)
class Tiling:
    """Which samples and hidden entries are computed together, and by whom.

    Attributes:
        samples: B.
        hidden: H.
        group: how many samples to a tile.
        lines: how many hidden entries to a tile.
        threads: how many there are.
        apart: has every thread hidden entries of its own, which are summed up in the end, rather
            than samples of its own?
    """

    samples: int
    hidden: int
    group: int
    lines: int
    threads: int = 1
    apart: bool = False

    @classmethod
    def of(
        cls,
        samples: int,
        hidden: int,
        line_bytes: int,
        room: Room,
        threads: int = 1,
        sum_bytes: int = 0,
    ) -> "Tiling":
        """Tiles that have room, or of one sample: as many samples as leave `LINES`.

        Args:
            samples: B.
            hidden: H.
            line_bytes: of the weights of a hidden entry.
            room: what may be used.
            threads: as many at most.
            sum_bytes: of what every thread sums up, if each has hidden entries of its own.

        >>> room = Room(tile=6 * 2**20, kept=0, sums=16 * 2**20)
        >>> Tiling.of(samples=128, hidden=3072, line_bytes=4 * 768, room=room)
        Tiling(samples=128, hidden=3072, group=16, lines=96, threads=1, apart=False)
        >>> Tiling.of(samples=1, hidden=3072, line_bytes=4 * 768, room=room, threads=2)
        Tiling(samples=1, hidden=3072, group=1, lines=1536, threads=2, apart=True)
        """
        fit = max(1, room.tile // (LINES * line_bytes))
        most = 1 << (fit.bit_length() - 1)  # a power of 2, which torch's threads share evenly
        groups, blocks = ceil(samples / most) or 1, ceil(hidden / LINES)
        apart = threads > 1 and (threads - 1) * sum_bytes <= room.sums
        threads = min(threads, blocks if apart else groups)
        if not apart:
            groups = ceil(groups / threads) * threads
        group = ceil(samples / groups) or 1
        sizes = range(1, 1 + min(blocks, max(1, room.tile // (group * line_bytes * LINES))))
        sharing = threads if apart else 1
        lines = LINES * min(sizes, key=lambda size: (busiest(blocks, size, sharing), -size))
        return cls(samples, hidden, group, min(lines, hidden), threads, apart and threads > 1)

    def parts(self) -> list[Part]:
        """What each thread computes."""
        tiles = range(ceil(self.hidden / self.lines))
        starts = range(0, self.samples, self.group)
        groups = [slice(i, min(i + self.group, self.samples)) for i in starts]
        shares = [slice(i, None, self.threads) for i in range(self.threads)]
        if self.apart:
            return [Part(i, tiles[share], groups) for i, share in enumerate(shares)]
        return [Part(i, tiles, groups[share]) for i, share in enumerate(shares)]

    def sums(self, like: Tensor, dtype: torch.dtype | None = None) -> list[Tensor]:
        """Zeros for each part to add to: the same ones unless parts sum up apart."""
        zeros = torch.zeros_like(like, dtype=dtype)
        others = range(self.threads - 1)
        return [zeros, *(torch.zeros_like(zeros) if self.apart else zeros for _ in others)]

    def total(self, sums: Sequence[Tensor]) -> Tensor:
        """What all parts have added, in the first of the sums."""
        for other in sums[1:] if self.apart else ():
            sums[0].add_(other)
        return sums[0]


def busiest(blocks: int, size: int, threads: int) -> int:
    """How many blocks the busiest of some threads has, which take turns at tiles of `size` blocks.

    >>> [busiest(32, size, threads=4) for size in (1, 2, 3)]
    [8, 8, 9]
    """
    tiles = ceil(blocks / size)
    lacking = tiles * size - blocks  # in the last of them
    is_last = tiles % threads == 1 % threads  # does the first thread have that one?
    return ceil(tiles / threads) * size - (lacking if is_last else 0)
