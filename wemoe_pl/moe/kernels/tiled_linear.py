"""Compute a linear layer in weight space: merge the lines of a tile, use them, and discard them.

The lines of W = W0 + Σ_i r_i τ_i are its rows or its columns, whichever lie in memory one after
another. A tile has some of them for some samples, W_u (u, D). For every sample it connects a part
of one side of the layer, P_u (N, u), with the whole of the other side, Q (N, D):

    rows       Y_u = X W_uᵀ + c_u      ∂X += ∂Y_u W_u       P is Y, and Q is X
    columns    Y += X_u W_u + c        ∂X_u = ∂Y W_uᵀ       P is X, and Q is Y
    both       ∂r_i += ⟨P_uᵀ Q, τ_i⟩, with gradients in the place of Y

The forward pass for rows is the backward pass for columns, and the other way round.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from wemoe_pl.moe.compression import is_column_major
from wemoe_pl.moe.kernels.merged_layer import MergedLayer
from wemoe_pl.moe.kernels.threads import run_in_threads, threads_for
from wemoe_pl.moe.kernels.tile_weights import (
    TileWeights,
    new_workspace,
    tile_weights,
    with_margins,
)
from wemoe_pl.moe.kernels.tiling import Budget, ThreadTiles, Tiling, budget_for


class Tile(NamedTuple):
    """A `Tile` has some lines of a layer for some samples.

    Attributes:
        lines: the pretrained lines and their task vectors.
        units: the numbers of the lines, which are also those of a part's columns.
        samples: the samples.
        routing: the routing weights of the batch, with the margins of `with_margins`.
        workspace: room for merged lines, or for their gradient.
    """

    lines: TileWeights
    units: slice
    samples: slice
    routing: Tensor
    workspace: Tensor

    @property
    def merged(self) -> Tensor:
        """Return W_u of every sample, (b, u, D)."""
        return self.lines.merged_for(self.samples, self.routing, self.workspace)

    def add_to_part(self, parts: Tensor, whole: Tensor) -> None:
        """Compute P_u += Q W_uᵀ, of parts (B, N, H) and the whole (B, N, D)."""
        parts[self.samples, :, self.units].baddbmm_(whole[self.samples], self.merged.mT)

    def add_to_whole(self, whole: Tensor, parts: Tensor) -> None:
        """Compute Q += P_u W_u."""
        whole[self.samples].baddbmm_(parts[self.samples, :, self.units], self.merged)

    def add_to_routing(self, total: Tensor, parts: Tensor, whole: Tensor) -> None:
        """Compute ∂r_i += ⟨P_uᵀ Q, τ_i⟩, of (B, T)."""
        part, of_samples = parts[self.samples, :, self.units], whole[self.samples]
        total[self.samples] += self.lines.contracted(part, of_samples, self.workspace)


@dataclass(frozen=True)
class LinearPass:
    """A `LinearPass` distributes the tiles of a layer for a batch among threads.

    Attributes:
        lines: the function from the number of a tile to its lines.
        tiling: the way in which samples and lines are cut.
        routing: the routing weights with their margins, (B + 1, T + 1); see `with_margins`.
        width: D, the length of a line.
    """

    lines: Callable[[int], TileWeights]
    tiling: Tiling
    routing: Tensor
    width: int

    @classmethod
    def of(
        cls, layer: MergedLayer, routing_weights: Tensor, x: Tensor, budget: Budget
    ) -> "LinearPass":
        """Cut the lines, once for all threads."""
        dim = int(is_column_major(layer.weight))
        length, width = layer.weight.shape[dim], layer.weight.shape[1 - dim]
        work = x.shape[:2].numel() * layer.weight.numel()
        threads = threads_for(x, work, budget.threaded)
        of_whole = x.shape[:2].numel() * width * x.element_size()
        line_bytes = width * x.element_size()
        converted = layer.converted(x.dtype)
        tiling = Tiling.of(len(x), length, line_bytes, budget, threads, of_whole, converted)
        lines = tile_weights(layer, dim, tiling, x.dtype)
        return cls(lines, tiling, with_margins(routing_weights), width)

    def run(self, step: Callable[[Tile, int], None]) -> None:
        """Call `step` with every tile and the number of its thread, in that thread."""

        def work_through(given: tuple[int, ThreadTiles]) -> None:
            thread, work = given
            tiling = self.tiling
            workspace = new_workspace(self.routing, tiling.group, tiling.units, self.width)
            for tile in work.tiles:
                lines, units = self.lines(tile), tiling.units_of(tile)
                for samples in work.groups:
                    step(Tile(lines, units, samples, self.routing, workspace), thread)

        run_in_threads(work_through, list(enumerate(self.tiling.by_thread())))


class TiledLinear(torch.autograd.Function):
    """A `TiledLinear` is a merged linear layer, with gradients to x, routing weights and biases."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        routing_weights: Tensor,
        bias: Tensor,
        layer: MergedLayer,
        budget: Budget,
    ) -> Tensor:
        """Map (B, N, n), (B, T) and merged biases (B, m) → (B, N, m)."""
        ctx.save_for_backward(x, routing_weights)
        ctx.layer, ctx.budget = layer, budget
        of_batch = LinearPass.of(layer, routing_weights, x, budget)
        if is_column_major(layer.weight):
            outs = of_batch.tiling.sums(x.new_empty(*x.shape[:2], len(layer.weight)))
            of_batch.run(lambda tile, thread: tile.add_to_whole(outs[thread], x))
            return of_batch.tiling.total(outs).add_(bias[:, None])
        out = bias[:, None].repeat(1, x.shape[1], 1)
        of_batch.run(lambda tile, thread: tile.add_to_part(out, x))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Map ∂Y, (B, N, m) → ∂X, ∂r and ∂c, those that are asked for."""
        x, routing_weights = ctx.saved_tensors
        wants_x, wants_routing, wants_bias = ctx.needs_input_grad[:3]
        upstream = gradients[0].to(x.dtype)
        by_column = is_column_major(ctx.layer.weight)
        parts, whole = (x, upstream) if by_column else (upstream, x)
        of_batch = LinearPass.of(ctx.layer, routing_weights, x, ctx.budget)
        tiling, precision = of_batch.tiling, torch.promote_types(x.dtype, torch.float32)
        routings = tiling.sums(routing_weights, precision) if wants_routing else []
        xs: list[Tensor] = []
        if wants_x:
            xs = [torch.zeros_like(x)] * tiling.threads if by_column else tiling.sums(x)

        def step(tile: Tile, thread: int) -> None:
            if wants_routing:
                tile.add_to_routing(routings[thread], parts, whole)
            if wants_x and by_column:
                tile.add_to_part(xs[thread], upstream)
            elif wants_x:
                tile.add_to_whole(xs[thread], upstream)

        of_batch.run(step)
        to_x = (xs[0] if by_column else tiling.total(xs)) if wants_x else None
        to_routing = tiling.total(routings).to(x.dtype) if wants_routing else None
        return to_x, to_routing, upstream.sum(dim=1) if wants_bias else None, None, None


def tiled_linear(
    layer: MergedLayer, routing_weights: Tensor, x: Tensor, budget: Budget | None = None
) -> Tensor:
    """Compute a layer in weight space: routing weights (B, T) and x (B, N, n) → (B, N, m).

    Args:
        layer: the layer.
        routing_weights: the routing weights, (B, T), of the precision of x.
        x: the tokens, (B, N, n).
        budget: the budget of the kernel; by default the one that suits the device.
    """
    if budget is None:
        budget = budget_for(x)
    out: Tensor = TiledLinear.apply(
        x, routing_weights, layer.merged_bias(routing_weights), layer, budget
    )
    return out
