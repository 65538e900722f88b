"""Tiles: which samples and hidden entries are computed together.

A tile is what some samples' merged weights of some hidden entries take: small enough to stay in a
CPU's cache between being merged and being multiplied.
"""

from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

LINES = 96  # hidden entries of a tile, at least: a whole number of blocks of sparse task vectors


class Room(NamedTuple):
    """Bytes that may be used.

    Attributes:
        tile: for the merged weights of one tile, of one of the two layers.
        kept: for hidden activations to wait for the backward pass.
    """

    tile: int
    kept: int


# Two tiles fit in the cache of a few cores; an accelerator is better served by few large products.
CPU_ROOM = Room(tile=6 * 2**20, kept=32 * 2**20)
ACCELERATOR_ROOM = Room(tile=256 * 2**20, kept=2**30)


@dataclass(frozen=True)
class Tiling:
    """How a batch is cut.

    Attributes:
        samples: B.
        hidden: H.
        group: how many samples to a tile.
        lines: how many hidden entries to a tile.
    """

    samples: int
    hidden: int
    group: int
    lines: int

    @classmethod
    def of(cls, samples: int, hidden: int, line_bytes: int, room: int) -> "Tiling":
        """Tiles of at most `room` bytes, or of one sample: as many samples as leave `LINES`.

        >>> Tiling.of(samples=128, hidden=3072, line_bytes=4 * 768, room=6 * 2**20)
        Tiling(samples=128, hidden=3072, group=16, lines=96)
        >>> Tiling.of(samples=1, hidden=3072, line_bytes=4 * 768, room=6 * 2**20)
        Tiling(samples=1, hidden=3072, group=1, lines=2016)
        """
        fit = max(1, room // (LINES * line_bytes))
        most = 1 << (fit.bit_length() - 1)  # a power of 2, which threads share evenly
        group = ceil(samples / max(1, ceil(samples / most))) or 1
        lines = max(1, room // (group * line_bytes * LINES)) * LINES
        return cls(samples, hidden, group, min(lines, hidden))

    @property
    def tiles(self) -> range:
        """Numbers of tiles of hidden entries: those of tile i begin at i · `lines`."""
        return range(ceil(self.hidden / self.lines))

    @property
    def groups(self) -> list[slice]:
        """The samples, some at a time."""
        starts = range(0, self.samples, self.group)
        return [slice(i, min(i + self.group, self.samples)) for i in starts]
