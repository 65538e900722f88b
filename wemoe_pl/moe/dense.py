"""Dense task vectors: every entry is stored, as in WEMoE (arXiv 2402.00433)."""

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


@dataclass(frozen=True)
class Dense(Compression):
    """All entries, as in WEMoE (arXiv 2402.00433)."""

    def store(self, weight: Tensor, fine_tuned: Reader, count: int) -> "DenseVectors":
        """Stack all task vectors."""
        stacked = room_for(weight, count, self.dtype(weight))
        for i, vector in enumerate(stacked):
            # Into its place: a difference in between would take memory for one more of each.
            torch.sub(fine_tuned(i).to(weight.device), weight, out=vector)
        return DenseVectors(stacked)


DENSE = Dense()


def room_for(weight: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """Room for the task vectors of a weight, (T, *shape), and behind them for a matrix itself.

    Each lies in the weight's own order of dimensions in memory.
    """
    of_matrix = int(weight.ndim == 2)
    strides = (weight.numel(), *weight.stride())
    shape = (count + of_matrix, *weight.shape)
    return torch.empty_strided(shape, strides, dtype=dtype, device=weight.device)[:count]


class DenseVectors(TaskVectors):
    """Stacked task vectors (T, *shape), whose entries are held in their order in memory.

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
        """The task vectors, (T, *shape)."""
        stacked = self.entries.view(self.shape)
        return stacked.mT if self.column_major else stacked

    def take_in(self, weight: nn.Parameter) -> None:
        """Move the pretrained matrix behind its task vectors, if there is room for it.

        Lines of all of them are then one matrix, whose product with the routing weights and a 1
        merges them. To begin with the pretrained line and add to it takes twice as long.
        """
        if (behind := self.behind) is not None and weight.dtype == behind.dtype:
            weight.data = behind.copy_(weight)

    def together(self, weight: Tensor) -> Tensor | None:
        """Task vectors and the weight behind them, (T + 1, *shape); None if it lies elsewhere."""
        if (behind := self.behind) is None or not behind.is_set_to(weight.detach()):
            return None
        return self.in_memory(self.count + 1)

    @property
    def behind(self) -> Tensor | None:
        """The memory behind the task vectors of a matrix, of its shape; None if there is none."""
        end = self.entries.storage_offset() + self.entries.numel() + self.shape[1:].numel()
        room = self.entries.untyped_storage().nbytes() // self.entries.element_size() >= end
        return self.in_memory(self.count + 1)[-1] if room and len(self.shape) == 3 else None

    def in_memory(self, count: int) -> Tensor:
        """Return that many matrices, from where the task vectors begin, (count, m, n)."""
        rows, width = self.shape[1:]
        begin = self.entries.storage_offset()
        matrices = self.entries.detach().as_strided(
            (count, rows, width), (rows * width, width, 1), begin
        )
        return matrices.mT if self.column_major else matrices

    def mix(self, routing_weights: Tensor) -> Tensor:
        """One matrix product for the whole batch."""
        return torch.tensordot(routing_weights, self.stacked.to(routing_weights.dtype), dims=1)

    def tile(self, start: int, stop: int, dim: int, dtype: torch.dtype) -> Tensor:
        """A view, unless the precision differs."""
        return self.lines(dim)[:, start:stop].to(dtype)

    def tiles(self, length: int, lines: int, dim: int, dtype: torch.dtype) -> Tiles:
        """All views at once, which is quicker than one by one, unless the precision differs."""
        if self.converts(dtype):
            return super().tiles(length, lines, dim, dtype)
        return self.tile(0, length, dim, dtype).split(lines, dim=1).__getitem__

    def converts(self, dtype: torch.dtype) -> bool:
        """Entries of the same precision are read where they lie."""
        return dtype != self.entries.dtype

    def write_tile(self, start: int, dim: int, out: Tensor) -> None:
        """Convert in place: a tile of its own in between would be written and read once more."""
        out.copy_(self.lines(dim)[:, start : start + out.shape[1]])

    def lines(self, dim: int) -> Tensor:
        """The rows (dim 0) or columns (dim 1) of all task vectors, (T, u, m)."""
        return self.stacked if dim == 0 else self.stacked.mT

    def add_applied(self, out: Tensor, x: Tensor, routing_weights: Tensor) -> Tensor:
        """One task vector after another, of which none is copied."""
        shares = routing_weights[:, None, None, :].unbind(dim=-1)
        for share, vector in zip(shares, self.stacked, strict=True):
            out = out.addcmul(share, x @ vector.to(x.dtype).T)
        return out

    @property
    def apply_cost(self) -> float:
        """Every entry is multiplied."""
        return self.entries.numel()
