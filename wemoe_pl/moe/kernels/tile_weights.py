"""Merge the weights of some hidden units for several samples, or contract their gradient.

Both write to a workspace (`new_workspace`), a flat tensor that is used again for every tile.
"""

from collections.abc import Callable
from math import gcd, prod
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from wemoe_pl.moe.compression import TaskVectors
from wemoe_pl.moe.kernels.merged_layer import MergedLayer
from wemoe_pl.moe.kernels.tiling import Tiling

SUMMED_APART = 8  # the most parts of a tile whose gradients are summed separately
# The unused numbers behind the merged weights of each sample, a line of the cache. These weights
# mostly take a multiple of 4096 bytes: without a gap, those of all samples would begin in the same
# few places of the cache, and merging would take a fifth longer.
GAP = 16


class TileWeights(NamedTuple):
    """A `TileWeights` has the rows or columns of a layer for u hidden units, each of length D.

    Attributes:
        pretrained: the pretrained weights W0, (u, 1, D).
        vectors: the task vectors τ_i, (T, u, D).
        together: the task vectors followed by W0, (T + 1, u · D); None if they lie apart in memory.
    """

    pretrained: Tensor
    vectors: Tensor
    together: Tensor | None = None

    def merged(self, routing_weights: Tensor, workspace: Tensor) -> Tensor:
        """Map routing weights and a 1, (b, T + 1), → W0 + Σ_i r_bi τ_i, (b, u, D)."""
        if self.together is None:
            return self.added(routing_weights[:, :-1], workspace)
        samples, size = len(routing_weights), self.together.shape[1]
        merged = in_shape(workspace, samples, size + GAP)[:, :size]
        torch.mm(routing_weights, self.together, out=merged)
        return merged.unflatten(1, self.vectors.shape[1:])

    def added(self, routing_weights: Tensor, workspace: Tensor) -> Tensor:
        """Map routing weights (b, T) → W0 + Σ_i r_bi τ_i, (b, u, D), if W0 lies elsewhere.

        There is a matrix product for each unit: one for all of them, (b, T) · (T, u · D), is so
        wide and so flat that it takes CPU libraries half as long again.
        """
        units, _, width = self.pretrained.shape
        merged = in_shape(workspace, units, len(routing_weights), width)
        by_unit = routing_weights.expand(units, -1, -1)
        torch.baddbmm(self.pretrained, by_unit, self.vectors.transpose(0, 1), out=merged)
        return merged.transpose(0, 1)

    def merged_for(self, samples: slice, routing: Tensor, workspace: Tensor) -> Tensor:
        """Return W0 + Σ_i r_bi τ_i of some samples, (b, u, D).

        If W0 lies elsewhere, weights are merged for an odd number of samples, if need be for one
        more than there are. Otherwise all units would begin in the same few places of the cache.

        Args:
            samples: the samples.
            routing: the routing weights of the batch, with the margins of `with_margins`.
            workspace: the room for the weights; see `new_workspace`.
        """
        count = samples.stop - samples.start
        merged_too = (count | 1) if self.together is None else count
        return self.merged(routing[samples.start : samples.start + merged_too], workspace)[:count]

    def contracted(self, left: Tensor, right: Tensor, workspace: Tensor) -> Tensor:
        """Contract left (b, N, u) and right (b, N, D) → ⟨leftᵀ right, τ_i⟩, (b, T).

        leftᵀ right is the gradient of a sample's merged weights, so the result is the gradient of
        its routing weights.
        """
        samples, (experts, units, width) = len(left), self.vectors.shape
        gradient = torch.bmm(left.mT, right, out=in_shape(workspace, samples, units, width))
        # In several parts: a single sum of such a length takes longer, and threads can't share it.
        parts = gcd(units, SUMMED_APART)
        by_part = gradient.view(samples, parts, -1).permute(1, 2, 0)
        return (self.vectors.view(experts, parts, -1).transpose(0, 1) @ by_part).sum(dim=0).T


def new_workspace(like: Tensor, samples: int, units: int, width: int) -> Tensor:
    """Return room for u hidden units of length D of some samples: their weights, or a gradient.

    There is a gap behind each sample, and room for one more; see `TileWeights.merged_for`.
    """
    return like.new_empty((samples + 1) * (units * width + GAP))


def with_margins(routing_weights: Tensor) -> Tensor:
    """Return (B, T) with a column of ones behind it, for W0, and a row of zeros below."""
    ones = routing_weights.new_ones(len(routing_weights), 1)
    return F.pad(torch.cat([routing_weights, ones], dim=1), (0, 0, 0, 1))


def in_shape(workspace: Tensor, *shape: int) -> Tensor:
    """Return the beginning of a workspace as a tensor of some shape."""
    return workspace[: prod(shape)].view(shape)


def tile_weights(
    layer: MergedLayer, dim: int, tiling: Tiling, dtype: torch.dtype
) -> Callable[[int], TileWeights]:
    """Return the function from the number of a tile to its rows (dim 0) or columns (dim 1)."""
    lines = layer.weight if dim == 0 else layer.weight.mT
    pretrained = lines[:, None].split(tiling.units)
    if layer.vectors.converts(dtype):
        return lambda tile: converted(
            pretrained[tile], layer.vectors, tile * tiling.units, dim, dtype
        )
    vectors = layer.vectors.tiles(tiling.hidden, tiling.units, dim, dtype)
    together = lines_together(layer, dim, dtype)
    by_tile = None if together is None else together.split(tiling.units, dim=1)
    return lambda tile: TileWeights(
        pretrained[tile].to(dtype).contiguous(),
        unit_by_unit(vectors(tile)),
        None if by_tile is None else by_tile[tile].flatten(1),
    )


def converted(
    pretrained: Tensor, vectors: TaskVectors, start: int, dim: int, dtype: torch.dtype
) -> TileWeights:
    """Convert the task vectors of some lines to another precision, and put W0 behind them.

    Args:
        pretrained: the lines of W0, (u, 1, D).
        vectors: the task vectors.
        start: the number of the first line.
        dim: 0 if the lines are rows, 1 if they are columns.
        dtype: the new precision.
    """
    units, _, width = pretrained.shape
    together = torch.empty(vectors.count + 1, units, width, dtype=dtype, device=pretrained.device)
    vectors.write_tile(start, dim, together[:-1])
    behind = together[-1, :, None].copy_(pretrained)
    return TileWeights(behind, together[:-1], together.flatten(1))


def lines_together(layer: MergedLayer, dim: int, dtype: torch.dtype) -> Tensor | None:
    """Return all lines of the task vectors followed by W0, (T + 1, length, D), without a copy.

    Lines are rows (dim 0) or columns (dim 1). The result is None if they do not lie together, one
    line after another, or have another precision.
    """
    together = layer.vectors.together(layer.weight) if layer.weight.dtype == dtype else None
    if together is None:
        return None
    lines = together if dim == 0 else together.mT
    return lines if lines.is_contiguous() else None


def unit_by_unit(vectors: Tensor) -> Tensor:
    """Lay out task vectors (T, u, D) so that units follow each other; copy only where need be."""
    return vectors if vectors.stride()[1:] == (vectors.shape[2], 1) else vectors.contiguous()
