"""Define what all stored forms of the task vectors of one parameter, dense or smaller, share.

In every form, `mix` gives Σ_i r_bi τ_i for every sample, in the precision of the routing weights,
and `tile` gives some rows or columns of all task vectors. Neither the forward nor the backward pass
keeps unpacked task vectors for longer than these calls take: a dictionary that is small in a file
is small in memory.

Task vectors have the memory order of their weight. If the weight is column-major, a column is read
as quickly as a row otherwise, without moving anything.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wemoe_pl.moe.precision import Precision

Reader = Callable[[int], Tensor]  # the number of an expert → its fine-tuned parameter
Tiles = Callable[[int], Tensor]  # the number of a tile → some rows or columns of all task vectors


class TaskVectors(nn.Module, ABC):
    """A `TaskVectors` holds the T task vectors of one parameter, frozen.

    Attributes:
        count: T, the number of task vectors.
    """

    count: int

    @abstractmethod
    def mix(self, routing_weights: Tensor) -> Tensor:
        """Map routing weights (B, T) → Σ_i r_bi τ_i, (B, *shape)."""

    @abstractmethod
    def tile(self, start: int, stop: int, dim: int, dtype: torch.dtype) -> Tensor:
        """Return some rows (dim 0) or columns (dim 1) of task vectors that are matrices.

        Returns:
            A tensor (T, stop − start, m); m is the length of a row, or of a column.
        """

    def tiles(self, length: int, lines: int, dim: int, dtype: torch.dtype) -> Tiles:
        """Return a function that gives `tile` by number; tile i begins at line i · `lines`.

        Args:
            length: the number of all lines, which are rows or columns.
            lines: the number of lines in a tile; the last one may have fewer.
            dim: 0 if the lines are rows, 1 if they are columns.
            dtype: the data type of the tiles.
        """
        return lambda i: self.tile(i * lines, min((i + 1) * lines, length), dim, dtype)

    def converts(self, dtype: torch.dtype) -> bool:
        """Return whether tiles are converted, one by one, from numbers of another precision."""
        return False

    def write_tile(self, start: int, dim: int, out: Tensor) -> None:
        """Write the tile that begins at line `start` to `out`, (T, u, m), in its precision."""
        out.copy_(self.tile(start, start + out.shape[1], dim, out.dtype))

    def take_in(self, weight: nn.Parameter) -> None:
        """Move the pretrained parameter to where it is read quickly with its task vectors."""

    def together(self, weight: Tensor) -> Tensor | None:
        """Return the task vectors followed by the parameter, (T + 1, *shape), without a copy.

        The result is None if the parameter does not lie behind its task vectors in memory.
        """
        return None

    def add_applied(self, out: Tensor, x: Tensor, routing_weights: Tensor) -> Tensor:
        """Add Σ_i r_bi τ_i x of tokens (B, N, n) and (B, T) to `out`, (B, N, m).

        Returns:
            The sum; `out` may be changed in place.
        """
        return out.baddbmm_(x, self.mix(routing_weights).mT)

    @property
    def numbers(self) -> int:
        """Return the number of floating-point numbers that are stored."""
        return sum(tensor.numel() for tensor in self.parameters() if tensor.is_floating_point())

    @property
    def apply_cost(self) -> float:
        """Return the multiply-adds of `add_applied` for one token; if infinite, it is not used."""
        return math.inf

    @property
    def unpack_cost(self) -> float:
        """Return the cost of unpacking tiles, in multiply-adds of a matrix product."""
        return 0.0

    @property
    def nbytes(self) -> int:
        """Return the number of bytes that they take, in memory and in a file."""
        return sum(tensor.nbytes for tensor in self.state_dict().values())


@dataclass(frozen=True)
class Compression(ABC):
    """A compression is the form in which task vectors are stored.

    Args:
        precision: the precision of the stored numbers; by default that of the weights. Mixing is
            always done in the precision of the weights.
    """

    precision: Precision | None = None

    @abstractmethod
    def store(self, weight: Tensor, fine_tuned: Reader, count: int) -> TaskVectors:
        """Store the task vectors of one parameter.

        Args:
            weight: the pretrained parameter.
            fine_tuned: a function that reads the parameter of expert i; one at a time is in memory.
            count: T, the number of experts.
        """

    def dtype(self, weight: Tensor) -> torch.dtype:
        """Return the data type of the stored numbers."""
        return getattr(torch, self.precision) if self.precision else weight.dtype


def frozen(tensor: Tensor) -> nn.Parameter:
    """Return a parameter that is stored, moved and counted with a module, but not trained."""
    return nn.Parameter(tensor, requires_grad=False)


def is_column_major(weight: Tensor) -> bool:
    """Return whether the columns of a matrix, rather than its rows, are contiguous in memory."""
    return weight.ndim == 2 and weight.mT.is_contiguous() and not weight.is_contiguous()


def in_memory_order(tensor: Tensor, weight: Tensor) -> Tensor:
    """Return a tensor of a weight's shape, transposed if the weight is column-major."""
    return tensor.mT if is_column_major(weight) else tensor
