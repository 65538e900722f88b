"""Store pruned task vectors, with the entries of largest magnitude only (arXiv 2410.21804)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from wemoe_pl.errors import MergeError
from wemoe_pl.moe.compression import (
    Compression,
    Reader,
    frozen,
    in_memory_order,
    is_column_major,
)
from wemoe_pl.moe.packed import PackedVectors

# The number of entries of a block. A place in a block fits in two bytes, and the lines of a tile
# are whole blocks if their length is a multiple of 256.
BLOCK_ENTRIES = 2**13
# The cost of unpacking an entry, stored or not, in multiply-adds of a matrix product.
SCATTER_COST = 20.0


@dataclass(frozen=True)
class Pruned(Compression):
    """The pruned form keeps the entries of largest magnitude (E-WEMoE, arXiv 2410.21804).

    Args:
        ratio: the share of entries, 0 to 1, that is left out of each parameter of each expert.
            Entries that are kept are not rescaled.
    """

    ratio: float = 0.9

    def __post_init__(self) -> None:
        """Refuse a ratio out of range."""
        if not 0.0 <= self.ratio <= 1.0:
            raise MergeError(
                f"The pruning ratio is {self.ratio}: choose a number from 0 (keep all) to 1."
            )

    def store(self, weight: Tensor, fine_tuned: Reader, count: int) -> "PrunedVectors":
        """Keep ⌈(1 − ratio) n⌉ of the n entries of each task vector."""
        kept = math.ceil(round((1.0 - self.ratio) * weight.numel(), 6))
        values = weight.new_empty(count, kept, dtype=self.dtype(weight))
        places = torch.empty(count, kept, dtype=torch.int64, device=weight.device)
        for i in range(count):
            difference = fine_tuned(i).to(weight.device) - weight
            vector = in_memory_order(difference, weight).flatten()
            largest = vector.abs().topk(kept, sorted=False).indices.sort().values
            values[i], places[i] = vector[largest], largest
        return PrunedVectors.of(values, places, weight)


class PrunedVectors(PackedVectors):
    """A `PrunedVectors` stores K entries of each task vector, in blocks by place in memory.

    Args:
        values: the entries that were kept, (T · K,), those of one block of all experts together.
        places: the place of each entry in its block, (T · K,), in two bytes.
        counts: the number of entries of each expert in each block, (blocks, T).
        shape: the shape of the parameter.
        column_major: True if the places count down the columns of a matrix.
    """

    counts: Tensor

    def __init__(
        self,
        values: Tensor,
        places: Tensor,
        counts: Tensor,
        shape: torch.Size,
        column_major: bool = False,
    ):
        super().__init__()
        self.values = frozen(values)
        self.places = frozen(places)
        self.register_buffer("counts", counts)
        self.shape = shape
        self.column_major = column_major
        self.count = counts.shape[1]

    @classmethod
    def of(cls, values: Tensor, places: Tensor, weight: Tensor) -> "PrunedVectors":
        """Sort the entries (T, K) of all experts, and their places in the weight, into blocks."""
        experts = torch.arange(len(values), device=values.device)[:, None]
        owners = (places // BLOCK_ENTRIES * len(values) + experts).flatten()
        blocks = math.ceil(weight.numel() / BLOCK_ENTRIES)
        counts = torch.zeros(blocks * len(values), dtype=torch.int32, device=values.device)
        counts.scatter_add_(0, owners, torch.ones_like(owners, dtype=torch.int32))
        order = owners.argsort(stable=True)
        return cls(
            values.flatten()[order],
            (places % BLOCK_ENTRIES).flatten()[order].to(torch.int16),
            counts.unflatten(0, (blocks, len(values))),
            weight.shape,
            is_column_major(weight),
        )

    def tile(self, start: int, stop: int, dim: int, dtype: torch.dtype) -> Tensor:
        """Unpack the blocks in which the rows or columns lie."""
        lies_apart = dim != int(self.column_major)
        length = self.shape[1 - dim]
        if lies_apart:
            transposed = self.unpacked(dtype).unflatten(1, (length, self.shape[dim]))
            return transposed[:, :, start:stop].mT
        first, last = start * length // BLOCK_ENTRIES, math.ceil(stop * length / BLOCK_ENTRIES)
        skipped = start * length - first * BLOCK_ENTRIES
        lines = self.unpacked(dtype, first, last)[:, skipped:]
        return lines[:, : (stop - start) * length].unflatten(1, (stop - start, length))

    def unpacked(self, dtype: torch.dtype, first: int = 0, last: int | None = None) -> Tensor:
        """Return the entries of blocks `first` to `last` (excluded), zeros included, (T, n)."""
        counts = self.counts[first:last]
        blocks, experts = counts.shape
        begin = int(self.counts[:first].sum()) if first else 0
        end = begin + int(counts.sum()) if last else len(self.values)
        # Stored entries are in the order of blocks, unpacked ones in the order of experts.
        origins = torch.arange(experts, device=counts.device) * blocks
        origins = (torch.arange(blocks, device=counts.device)[:, None] + origins) * BLOCK_ENTRIES
        owners = origins.flatten().repeat_interleave(counts.flatten(), output_size=end - begin)
        dense = self.values.new_zeros(experts * blocks * BLOCK_ENTRIES, dtype=dtype)
        dense.scatter_(0, owners + self.places[begin:end], self.values[begin:end].to(dtype))
        dense = dense.unflatten(0, (experts, blocks * BLOCK_ENTRIES))
        return dense[:, : self.shape.numel() - first * BLOCK_ENTRIES]

    @property
    def unpack_cost(self) -> float:
        """Return the cost of writing every entry, zero or not, to a place of its own."""
        return SCATTER_COST * self.count * self.shape.numel()


def are_pruned(stored: Mapping[str, Tensor], weight: Tensor, count: int) -> bool:
    """Return whether pruned parts fit each other, a parameter and the number of experts.

    Args:
        stored: the tensors `values`, `places` and `counts` of a `PrunedVectors`.
        weight: the parameter.
        count: T, the number of experts.
    """
    values, places, counts = (stored[part] for part in ("values", "places", "counts"))
    blocks = math.ceil(weight.numel() / BLOCK_ENTRIES)
    if counts.shape != (blocks, count) or counts.is_floating_point() or (counts < 0).any():
        return False
    kept = (int(counts.sum()),)
    within = not places.is_floating_point() and ((places >= 0) & (places < BLOCK_ENTRIES)).all()
    return bool(within) and values.shape == places.shape == kept
