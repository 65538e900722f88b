"""Dense task vectors: every entry is stored, as in WEMoE (arXiv 2402.00433)."""

from dataclasses import dataclass

import torch
from torch import Tensor

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
        # In the weight's own order of dimensions in memory, once for every expert.
        stacked = torch.empty_strided(
            (count, *weight.shape),
            (weight.numel(), *weight.stride()),
            dtype=self.dtype(weight),
            device=weight.device,
        )
        for i, vector in enumerate(stacked):
            # Into its place: a difference in between would take memory for one more of each.
            torch.sub(fine_tuned(i).to(weight.device), weight, out=vector)
        return DenseVectors(stacked)


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

    def mix(self, routing_weights: Tensor) -> Tensor:
        """One matrix product for the whole batch."""
        return torch.tensordot(routing_weights, self.stacked.to(routing_weights.dtype), dims=1)

    def tile(self, start: int, stop: int, dim: int, dtype: torch.dtype) -> Tensor:
        """A view, unless the precision differs."""
        lines = self.stacked if dim == 0 else self.stacked.mT
        return lines[:, start:stop].to(dtype)

    def tiles(self, length: int, lines: int, dim: int, dtype: torch.dtype) -> Tiles:
        """All views at once, which is quicker than one by one, unless the precision differs."""
        if dtype != self.entries.dtype:
            return super().tiles(length, lines, dim, dtype)
        return self.tile(0, length, dim, dtype).split(lines, dim=1).__getitem__

    def apply_to(self, x: Tensor, routing_weights: Tensor) -> Tensor:
        """One task vector after another, of which none is copied."""
        shares = routing_weights[:, None, None, :].unbind(dim=-1)
        applied = (x @ vector.to(x.dtype).T for vector in self.stacked)
        return torch.stack([r * y for r, y in zip(shares, applied, strict=True)]).sum(dim=0)

    @property
    def apply_cost(self) -> float:
        """Every entry is multiplied."""
        return self.entries.numel()
