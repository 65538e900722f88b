"""Store quantised task vectors, one byte per entry, in steps of its line (arXiv 2503.06921)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from wemoe_pl.moe.compression import (
    Compression,
    Reader,
    TaskVectors,
    frozen,
    in_memory_order,
    is_column_major,
)
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.packed import PackedVectors

LEVELS = 127  # levels on each side of zero, which is a level too


@dataclass(frozen=True)
class Quantised(Compression):
    """The INT8 form stores one byte per entry (Task Vector Quantization, arXiv 2503.06921).

    A line is a row of a matrix or, if the matrix is column-major, a column. Its entries are rounded
    to 127 steps on each side of zero, the last of which is its largest magnitude: an entry is off
    by 1/254 of that at most. Parameters of one dimension, such as biases, are stored as by `Dense`.

    Args:
        precision: the precision of the largest magnitudes, and of parameters of one dimension.
    """

    def store(self, weight: Tensor, fine_tuned: Reader, count: int) -> TaskVectors:
        """Quantise each matrix; store vectors as `Dense` does."""
        if weight.ndim < 2:
            return Dense(self.precision).store(weight, fine_tuned, count)
        lines = in_memory_order(weight, weight).flatten(1).shape
        levels = torch.empty(count, *lines, dtype=torch.int8, device=weight.device)
        absmax = weight.new_empty(count, lines[0], dtype=self.dtype(weight))
        for i in range(count):
            difference = fine_tuned(i).to(weight.device) - weight
            # In half precision, a quotient would be half a level off.
            exact = torch.promote_types(difference.dtype, torch.float32)
            vector = in_memory_order(difference.to(exact), weight).flatten(1)
            absmax[i] = vector.abs().amax(dim=1)
            levels[i] = quantised(vector, absmax[i].to(exact) / LEVELS)
        return QuantisedVectors(
            levels.flatten(), absmax.flatten(), weight.shape, count, is_column_major(weight)
        )


def quantised(lines: Tensor, steps: Tensor) -> Tensor:
    """Round lines (l, n) to multiples of their steps (l,); return the factors in INT8.

    A line of zeros has a step of zero. A line that is not finite has a step that is not finite.
    """
    divisors = steps.where(steps > 0, 1)[:, None]
    return (lines / divisors).round().clamp(-LEVELS, LEVELS).to(torch.int8)


class QuantisedVectors(PackedVectors):
    """An entry of a `QuantisedVectors` is level / 127 times the largest magnitude of its line.

    Args:
        levels: the levels, (T · m · n,), −127 to 127, in their order in memory.
        absmax: the largest magnitude of each of the m lines, (T · m,).
        shape: the shape of the parameter.
        count: T, the number of experts.
        column_major: True if the lines are the columns of a matrix.
    """

    def __init__(
        self,
        levels: Tensor,
        absmax: Tensor,
        shape: torch.Size,
        count: int,
        column_major: bool = False,
    ):
        super().__init__()
        self.levels, self.absmax = frozen(levels), frozen(absmax)
        self.shape = shape
        self.count = count
        self.column_major = column_major

    def by_line(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the levels, (T, m, n), and the step between levels of each line, (T, m, 1)."""
        absmax = self.absmax.view(self.count, -1, 1)
        return self.levels.view(*absmax.shape[:2], -1), absmax.to(dtype) / LEVELS

    def unpacked(self, dtype: torch.dtype) -> Tensor:
        """Multiply all levels by their steps, (T, m · n)."""
        levels, steps = self.by_line(dtype)
        return levels.to(dtype).mul_(steps).flatten(1)

    def tile(self, start: int, stop: int, dim: int, dtype: torch.dtype) -> Tensor:
        """Multiply the levels of some rows or columns by their steps."""
        size = self.count, stop - start, self.shape[1 - dim]
        out = torch.empty(size, dtype=dtype, device=self.levels.device)
        self.write_tile(start, dim, out)
        return out

    def converts(self, dtype: torch.dtype) -> bool:
        """Return True, since levels are converted to every precision."""
        return True

    def write_tile(self, start: int, dim: int, out: Tensor) -> None:
        """Convert the levels first: torch takes twice as long to multiply numbers of two types."""
        levels, steps = self.by_line(out.dtype)
        steps = steps.expand_as(levels)
        if dim != int(self.column_major):
            levels, steps = levels.mT, steps.mT
        lines = slice(start, start + out.shape[1])
        out.copy_(levels[:, lines]).mul_(steps[:, lines])


def are_quantised(stored: Mapping[str, Tensor], weight: Tensor, count: int) -> bool:
    """Return whether quantised parts fit a parameter and the number of experts.

    Args:
        stored: the tensors `levels` and `absmax` of a `QuantisedVectors`.
        weight: the parameter.
        count: T, the number of experts.
    """
    levels, absmax = stored["levels"], stored["absmax"]
    if weight.ndim < 2 or levels.dtype != torch.int8 or not absmax.is_floating_point():
        return False
    lines = len(in_memory_order(weight, weight))
    return levels.shape == (count * weight.numel(),) and absmax.shape == (count * lines,)
