"""Store task vectors densely, with every entry, as in WEMoE (arXiv 2402.00433)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wemoe_pl.moe.compression import (
    Compression,
    Reader,
    TaskVectors,
    Tiles,
    frozen,
    is_column_major,
)
from wemoe_pl.moe.expert_parameter import known_factors
from wemoe_pl.moe.low_rank_vectors import LowRankVectors


@dataclass(frozen=True)
class Dense(Compression):
    """The dense form leaves nothing out, as in WEMoE (arXiv 2402.00433).

    It stores all entries. If every expert is an adapter, such as LoRA, it stores the factors in
    which the task vectors of matrices come: they are the same matrices, in less memory.
    """

    def store(self, weight: Tensor, fine_tuned: Reader, count: int) -> TaskVectors:
        """Stack all task vectors, or put their factors side by side if these are known."""
        factors = known_factors(fine_tuned, weight, count) if weight.ndim > 1 else None
        if factors and sum(left.numel() + right.numel() for left, right in factors) < (
            count * weight.numel()
        ):
            return LowRankVectors.of(factors, weight, self.dtype(weight))
        stacked = room_for(weight, count, self.dtype(weight))
        for i, vector in enumerate(stacked):
            # Written to its place directly: a temporary difference would take more memory.
            torch.sub(fine_tuned(i).to(weight.device), weight, out=vector)
        return DenseVectors(stacked)


DENSE = Dense()


def room_for(weight: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """Return an empty tensor for the task vectors of a weight, (T, *shape).

    Each task vector has the weight's own order of dimensions in memory. Behind a matrix's task
    vectors there is room for the matrix itself.
    """
    of_matrix = int(weight.ndim == 2)
    strides = (weight.numel(), *weight.stride())
    shape = (count + of_matrix, *weight.shape)
    return torch.empty_strided(shape, strides, dtype=dtype, device=weight.device)[:count]


class DenseVectors(TaskVectors):
    """A `DenseVectors` holds stacked task vectors (T, *shape), in their order in memory.

    >>> DenseVectors(torch.eye(2)).mix(torch.tensor([[0.5, 2.0]]))
    tensor([[0.5000, 2.0000]])
    """

    def __init__(self, stacked: Tensor):
        super().__init__()
        self.column_major = is_column_major(stacked[0])
        in_memory = stacked.mT if self.column_major else stacked
        self.entries = frozen(in_memory.flatten())
        self.shape = in_memory.shape
        self.count = len(stacked)

    @property
    def stacked(self) -> Tensor:
        """Return the task vectors, (T, *shape)."""
        stacked = self.entries.view(self.shape)
        return stacked.mT if self.column_major else stacked

    def take_in(self, weight: nn.Parameter) -> None:
        """Move the pretrained matrix behind its task vectors, if there is room for it.

        The same lines of all of them are then one matrix, whose product with the routing weights
        and a 1 merges them. Starting from the pretrained lines and adding to them takes twice as
        long.
        """
        if (behind := self.behind) is not None and weight.dtype == behind.dtype:
            weight.data = behind.copy_(weight)

    def together(self, weight: Tensor) -> Tensor | None:
        """Return task vectors and weight, (T + 1, *shape); None if the weight lies elsewhere."""
        if (behind := self.behind) is None or not behind.is_set_to(weight.detach()):
            return None
        return self.in_memory(self.count + 1)

    @property
    def behind(self) -> Tensor | None:
        """Return the memory behind a matrix's task vectors, in its shape; None if there is none."""
        end = self.entries.storage_offset() + self.entries.numel() + self.shape[1:].numel()
        room = self.entries.untyped_storage().nbytes() // self.entries.element_size() >= end
        return self.in_memory(self.count + 1)[-1] if room and len(self.shape) == 3 else None

    def in_memory(self, count: int) -> Tensor:
        """Return `count` matrices in memory from the first task vector on, (count, m, n)."""
        rows, width = self.shape[1:]
        begin = self.entries.storage_offset()
        matrices = self.entries.detach().as_strided(
            (count, rows, width), (rows * width, width, 1), begin
        )
        return matrices.mT if self.column_major else matrices

    def mix(self, routing_weights: Tensor) -> Tensor:
        """Mix by one matrix product for the whole batch."""
        return torch.tensordot(routing_weights, self.stacked.to(routing_weights.dtype), dims=1)

    def tile(self, start: int, stop: int, dim: int, dtype: torch.dtype) -> Tensor:
        """Return a view, or a copy if the precision differs."""
        return self.lines(dim)[:, start:stop].to(dtype)

    def tiles(self, length: int, lines: int, dim: int, dtype: torch.dtype) -> Tiles:
        """Make all views at once, which is quicker; convert one by one if the precision differs."""
        if self.converts(dtype):
            return super().tiles(length, lines, dim, dtype)
        return self.tile(0, length, dim, dtype).split(lines, dim=1).__getitem__

    def converts(self, dtype: torch.dtype) -> bool:
        """Return whether the precision differs; otherwise entries are read where they lie."""
        return dtype != self.entries.dtype

    def write_tile(self, start: int, dim: int, out: Tensor) -> None:
        """Convert straight into `out`: a temporary tile would be written and read once more."""
        out.copy_(self.lines(dim)[:, start : start + out.shape[1]])

    def lines(self, dim: int) -> Tensor:
        """Return the rows (dim 0) or columns (dim 1) of all task vectors, (T, u, m)."""
        return self.stacked if dim == 0 else self.stacked.mT

    def add_applied(self, out: Tensor, x: Tensor, routing_weights: Tensor) -> Tensor:
        """Apply one task vector after another, without a copy unless the precision differs."""
        shares = routing_weights[:, None, None, :].unbind(dim=-1)
        for share, vector in zip(shares, self.stacked, strict=True):
            out = out.addcmul(share, x @ vector.to(x.dtype).T)
        return out

    @property
    def apply_cost(self) -> float:
        """Return the number of entries, since every one is multiplied."""
        return self.entries.numel()
