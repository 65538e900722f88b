"""The task vectors of one parameter have stored forms, dense or smaller, which share this.

Whatever the form, `mix` gives Σ_i r_bi τ_i for every sample, in the precision of the routing
weights, and `tile` gives some rows or columns of all task vectors. Nothing stays unpacked for
longer than that takes, neither in the forward pass nor for the backward one: what is small in a
file is small in memory.

Task vectors lie in memory as their weight does. If that is column-major, a column is read as
quickly as a row is read otherwise, without moving anything.
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
    """The T task vectors of one parameter, frozen.

    Attributes:
        count: T, the number of task vectors.
    """

    count: int

    @abstractmethod
    def mix(self, routing_weights: Tensor) -> Tensor:
        """Routing weights (B, T) → Σ_i r_bi τ_i, (B, *shape)."""

    @abstractmethod
    def tile(self, start: int, stop: int, dim: int, dtype: torch.dtype) -> Tensor:
        """Some rows (dim 0) or columns (dim 1) of task vectors that are matrices.

        Returns:
            (T, stop − start, m): m is the length of a row, or of a column.
        """

    def tiles(self, length: int, lines: int, dim: int, dtype: torch.dtype) -> Tiles:
        """A function that gives `tile` by number: tile i begins at row or column i · `lines`.

        Args:
            length: how many rows or columns there are.
            lines: how many of them are in a tile; the last one may have fewer.
            dim: as for `tile`.
            dtype: as for `tile`.
        """
        return lambda i: self.tile(i * lines, min((i + 1) * lines, length), dim, dtype)

    def converts(self, dtype: torch.dtype) -> bool:
        """Are tiles made of stored numbers of another precision, one by one?"""
        return False

    def write_tile(self, start: int, dim: int, out: Tensor) -> None:
        """Write `tile` from a row or column on into a tensor (T, u, m), in its precision."""
        out.copy_(self.tile(start, start + out.shape[1], dim, out.dtype))

    def take_in(self, weight: nn.Parameter) -> None:
        """Let the pretrained parameter lie where it is read quickly with its task vectors."""

    def together(self, weight: Tensor) -> Tensor | None:
        """Task vectors and behind them the parameter, (T + 1, *shape), if they lie so."""
        return None

    def add_applied(self, out: Tensor, x: Tensor, routing_weights: Tensor) -> Tensor:
        """Add Σ_i r_bi τ_i x of tokens (B, N, n) and (B, T) to `out`, (B, N, m), in place."""
        return out.baddbmm_(x, self.mix(routing_weights).mT)

    @property
    def numbers(self) -> int:
        """Return the number of floating-point numbers that are stored."""
        return sum(tensor.numel() for tensor in self.parameters() if tensor.is_floating_point())

    @property
    def apply_cost(self) -> float:
        """Multiply-adds that `add_applied` takes for one token."""
        return math.inf

    @property
    def unpack_cost(self) -> float:
        """Return the cost of unpacking tiles, in multiply-adds of a matrix product."""
        return 0.0

    @property
    def nbytes(self) -> int:
        """Bytes that they take, in memory and in a file."""
        return sum(tensor.nbytes for tensor in self.state_dict().values())


@dataclass(frozen=True)
class Compression(ABC):
    """The form in which task vectors are stored.

    Args:
        precision: of the stored numbers; by default that of the weights. Mixing is always done in
            the precision of the weights.
    """

    precision: Precision | None = None

    @abstractmethod
    def store(self, weight: Tensor, fine_tuned: Reader, count: int) -> TaskVectors:
        """Store the task vectors of one parameter.

        Args:
            weight: the pretrained parameter.
            fine_tuned: reads the same parameter of expert i; one at a time is held in memory.
            count: T, how many experts there are.
        """

    def dtype(self, weight: Tensor) -> torch.dtype:
        """The data type of the stored numbers."""
        return getattr(torch, self.precision) if self.precision else weight.dtype


def frozen(tensor: Tensor) -> nn.Parameter:
    """A parameter that is stored, moved and counted with a module, and not trained."""
    return nn.Parameter(tensor, requires_grad=False)


def is_column_major(weight: Tensor) -> bool:
    """Do the columns of a matrix lie in memory one after another, and not its rows?"""
    return weight.ndim == 2 and weight.mT.is_contiguous() and not weight.is_contiguous()


def in_memory_order(tensor: Tensor, weight: Tensor) -> Tensor:
    """A tensor of a weight's shape, transposed if the weight is column-major."""
    return tensor.mT if is_column_major(weight) else tensor
