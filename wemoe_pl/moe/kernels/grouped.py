"""Merge weights once for all samples of a batch that have the same routing weights.

This kernel in weight space is for batches with few distinct routings: images of one task that are
routed alike, or images that go to one expert each. The cost of merging then grows with the number
of routings, not of samples, and one product takes all tokens of a routing at once.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from wemoe_pl.moe.kernels.threads import run_in_threads
from wemoe_pl.moe.kernels.tile_weights import new_workspace, tile_weights, with_margins
from wemoe_pl.moe.kernels.tiled import tiling_of, widest
from wemoe_pl.moe.kernels.tiling import Budget, ThreadTiles, budget_for
from wemoe_pl.moe.kernels.two_layers import TwoLayers

FEWEST_PER_ROUTING = 2  # the mean number of samples per routing from which sorting them pays


@dataclass(frozen=True)
class Groups:
    """A `Groups` has the samples of a batch, sorted by their routing weights.

    Attributes:
        distinct: the G distinct rows of routing weights, (G, T).
        order: the samples in the order of their groups, (B,).
        sizes: the number of samples in each group.
    """

    distinct: Tensor
    order: Tensor
    sizes: list[int]

    @classmethod
    def of(cls, routing_weights: Tensor) -> "Groups":
        """Sort samples by their routing weights, (B, T).

        >>> Groups.of(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])).sizes
        [1, 2]
        """
        distinct, owners, sizes = routing_weights.unique(
            dim=0, return_inverse=True, return_counts=True
        )
        return cls(distinct, owners.argsort(stable=True), sizes.tolist())

    def tokens(self, x: Tensor) -> list[Tensor]:
        """Split tokens (B, N, D) in the order of the groups → those of each group, (b · N, D)."""
        return [part.flatten(0, 1) for part in x.split(self.sizes)]


def has_few_routings(routing_weights: Tensor) -> bool:
    """Return whether so many samples share their routing weights, (B, T), that grouping pays."""
    distinct = len(routing_weights.unique(dim=0))
    return distinct * FEWEST_PER_ROUTING <= len(routing_weights)


def grouped_mlp(
    mlp: TwoLayers, routing_weights: Tensor, x: Tensor, budget: Budget | None = None
) -> Tensor:
    """Compute two layers without gradients: routing weights (B, T) and x (B, N, D) → (B, N, D).

    Args:
        mlp: the layers.
        routing_weights: the routing weights, (B, T), of the precision of x.
        x: the tokens, (B, N, D).
        budget: the budget of the kernel; by default the one that suits the device.
    """
    groups = Groups.of(routing_weights)
    tokens = groups.tokens(x[groups.order])
    routing, budget = with_margins(groups.distinct), budget or budget_for(x)
    biases = mlp.first.merged_bias(groups.distinct)
    tiling = tiling_of(x, mlp, budget, rows=len(groups.sizes))
    first = tile_weights(mlp.first, 0, tiling, x.dtype)
    second = tile_weights(mlp.second, 1, tiling, x.dtype)
    outs = tiling.sums(x.new_empty(*x.shape[:2], len(mlp.second.weight)))

    def add_tiles(given: tuple[ThreadTiles, Tensor]) -> None:
        work, out = given
        totals = groups.tokens(out)
        workspace = new_workspace(x, tiling.group, tiling.units, widest(mlp))
        for tile in work.tiles:
            of_first, of_second, units = first(tile), second(tile), tiling.units_of(tile)
            for rows in work.groups:
                merged = of_first.merged_for(rows, routing, workspace)
                of_rows = zip(biases[rows, units], tokens[rows], merged, strict=True)
                hidden = [mlp.act(torch.addmm(bias, x, w.mT)) for bias, x, w in of_rows]
                merged = of_second.merged_for(rows, routing, workspace)
                for total, h, w in zip(totals[rows], hidden, merged, strict=True):
                    total.addmm_(h, w)

    run_in_threads(add_tiles, list(zip(tiling.by_thread(), outs, strict=True)))
    out = torch.empty_like(outs[0])
    out[groups.order] = tiling.total(outs)
    last = mlp.second.merged_bias(routing_weights)
    return out.add_(last[:, None])
