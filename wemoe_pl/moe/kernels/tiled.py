"""Compute an MLP in weight space: merge the weights of a tile, use them, and discard them.

A tile is some hidden units for some samples. The MLP is Y = act(X W1ᵀ + c) W2ᵀ + d, where W1, c, W2
and d are W0 + Σ_i r_i τ_i for each sample. For a tile, W1 has the rows and W2 the columns that
belong to its hidden units, each (u, D):

    forward     A = X W1ᵀ + c      H = act(A)              Y += H W2
    backward    ∂H = ∂Y W2ᵀ        ∂A = act'(A) ∂H         ∂c = Σ_n ∂A        ∂X += ∂A W1
                ∂r_i += ⟨Hᵀ ∂Y, τ2_i⟩ + ⟨∂Aᵀ X, τ1_i⟩

All are batched products over the samples of the tile. The merged weights and their gradient are
never held for more than a tile. A and H are held only if there is room to keep them for the
backward pass. So memory does not grow with the dictionary.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from wemoe_pl.moe.kernels.threads import run_in_threads, threads_for
from wemoe_pl.moe.kernels.tile_weights import (
    TileWeights,
    new_workspace,
    tile_weights,
    with_margins,
)
from wemoe_pl.moe.kernels.tiling import Budget, ThreadTiles, Tiling, budget_for
from wemoe_pl.moe.kernels.two_layers import TwoLayers

TILE_ACTIVATIONS = 4  # activations in a tile's room in the cache: A, H and their gradients


class Activated(NamedTuple):
    """An `Activated` holds the activation of a tile for autograd: A before it, and H after it."""

    before: Tensor
    after: Tensor

    @classmethod
    def of(cls, act: Callable[[Tensor], Tensor], before: Tensor) -> "Activated":
        """Apply an activation, recorded by autograd."""
        with torch.enable_grad():
            leaf = before.detach().requires_grad_()
            return cls(leaf, act(leaf))

    @property
    def values(self) -> Tensor:
        """Return H, without autograd."""
        return self.after.detach()

    def gradient(self, to_after: Tensor) -> Tensor:
        """Return ∂A, the gradient before the activation, for ∂H after it."""
        return torch.autograd.grad(self.after, self.before, to_after, retain_graph=True)[0]


class Gradients(NamedTuple):
    """A `Gradients` has the gradients to add to; those that are not asked for are None.

    Attributes:
        x: the gradient of the tokens, (B, N, D).
        routing: the gradient of the routing weights, (B, T).
        bias: the gradient of the first layer's merged biases, (B, H).
    """

    x: Tensor | None
    routing: Tensor | None
    bias: Tensor


@dataclass(frozen=True)
class TiledPass:
    """A `TiledPass` computes a batch tile by tile, in several threads.

    Attributes:
        mlp: the layers.
        x: the tokens X, (B, N, D).
        routing: the routing weights with their margins, (B + 1, T + 1); see `with_margins`.
        bias: c, the merged biases of the first layer, (B, H).
        tiling: the way in which samples and hidden units are cut.
        first: the function from the number of a tile to its rows of the first layer.
        second: the function from the number of a tile to its columns of the second layer.
    """

    mlp: TwoLayers
    x: Tensor
    routing: Tensor
    bias: Tensor
    tiling: Tiling
    first: Callable[[int], TileWeights]
    second: Callable[[int], TileWeights]

    @classmethod
    def of(
        cls, mlp: TwoLayers, x: Tensor, routing_weights: Tensor, bias: Tensor, tiling: Tiling
    ) -> "TiledPass":
        """Cut the layers, once for all threads."""
        first = tile_weights(mlp.first, 0, tiling, x.dtype)
        second = tile_weights(mlp.second, 1, tiling, x.dtype)
        routing = with_margins(routing_weights)
        return cls(mlp, x, routing, bias, tiling, first, second)

    def forward(self, work: ThreadTiles, out: Tensor, kept: list[Activated] | None) -> None:
        """Add the output of one thread's tiles; keep A and H if there is a list for them."""
        workspace = self.workspace()
        for tile in work.tiles:
            first, second = self.first(tile), self.second(tile)
            for samples in work.groups:
                before = self.before(tile, samples, first, workspace)
                if kept is None:
                    hidden = self.mlp.act(before)
                else:
                    kept.append(Activated.of(self.mlp.act, before))
                    hidden = kept[-1].values
                out[samples].baddbmm_(hidden, second.merged_for(samples, self.routing, workspace))

    def backward(
        self, work: ThreadTiles, upstream: Tensor, to: Gradients, kept: Iterable[Activated]
    ) -> None:
        """Add the gradients through one thread's tiles, whose weights are merged anew."""
        workspace, waiting = self.workspace(), iter(kept)
        for tile in work.tiles:
            first, second = self.first(tile), self.second(tile)
            for samples in work.groups:
                to_out, hidden = upstream[samples], next(waiting, None)
                if hidden is None:  # because it was not kept
                    before = self.before(tile, samples, first, workspace)
                    hidden = Activated.of(self.mlp.act, before)
                to_hidden = to_out @ second.merged_for(samples, self.routing, workspace).mT
                to_before = hidden.gradient(to_hidden)
                to_bias = to.bias[samples, self.tiling.units_of(tile)]
                torch.sum(to_before, dim=1, out=to_bias)
                if to.routing is not None:
                    to_routing = to.routing[samples]
                    to_routing += second.contracted(hidden.values, to_out, workspace)
                    to_routing += first.contracted(to_before, self.x[samples], workspace)
                if to.x is not None:
                    # Merged once more, since the workspace has held other weights meanwhile.
                    to.x[samples].baddbmm_(
                        to_before, first.merged_for(samples, self.routing, workspace)
                    )

    def before(self, tile: int, samples: slice, first: TileWeights, workspace: Tensor) -> Tensor:
        """Return A, (b, N, u)."""
        bias = self.bias[samples, None, self.tiling.units_of(tile)]
        return torch.baddbmm(
            bias, self.x[samples], first.merged_for(samples, self.routing, workspace).mT
        )

    def workspace(self) -> Tensor:
        """Return room for the weights of one tile, or their gradient."""
        return new_workspace(self.x, self.tiling.group, self.tiling.units, widest(self.mlp))


class TiledMLP(torch.autograd.Function):
    """A `TiledMLP` is `second(act(first x))` without the last bias.

    Its gradients are to x, the routing weights and the merged biases of the first layer.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, routing_weights: Tensor, bias: Tensor, mlp: TwoLayers, budget: Budget
    ) -> Tensor:
        """Map (B, N, D), (B, T) and merged biases (B, H) of the first layer → (B, N, D)."""
        ctx.save_for_backward(x, routing_weights, bias)
        ctx.mlp, ctx.tiling = mlp, tiling_of(x, mlp, budget)
        keeps = any(ctx.needs_input_grad) and 2 * x.shape[1] * bias.nbytes <= budget.kept
        ctx.kept = [[] if keeps else None for _ in range(ctx.tiling.threads)]
        run = TiledPass.of(mlp, x, routing_weights, bias, ctx.tiling)
        outs = ctx.tiling.sums(x.new_empty(*x.shape[:2], len(mlp.second.weight)))
        work = zip(ctx.tiling.by_thread(), outs, ctx.kept, strict=True)
        run_in_threads(lambda given: run.forward(*given), list(work))
        return ctx.tiling.total(outs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Map ∂Y, (B, N, D) → ∂X, ∂r and ∂c, those that are asked for."""
        x, routing_weights, bias = ctx.saved_tensors
        wants_x, wants_routing, wants_bias = ctx.needs_input_grad[:3]
        tiling, upstream = ctx.tiling, gradients[0].to(x.dtype)
        precision = torch.promote_types(x.dtype, torch.float32)
        xs = tiling.sums(x) if wants_x else None
        routings = tiling.sums(routing_weights, precision) if wants_routing else None
        to_bias = torch.empty_like(bias)
        run = TiledPass.of(ctx.mlp, x, routing_weights, bias, tiling)
        work = []
        for i, thread in enumerate(tiling.by_thread()):
            to = Gradients(xs[i] if xs else None, routings[i] if routings else None, to_bias)
            work.append((thread, upstream, to, ctx.kept[i] or ()))
        run_in_threads(lambda given: run.backward(*given), work)
        to_x = None if xs is None else tiling.total(xs)
        to_routing = None if routings is None else tiling.total(routings).to(x.dtype)
        return to_x, to_routing, to_bias if wants_bias else None, None, None


def tiled_mlp(
    mlp: TwoLayers, routing_weights: Tensor, x: Tensor, budget: Budget | None = None
) -> Tensor:
    """Compute two layers in weight space: routing weights (B, T) and x (B, N, D) → (B, N, D).

    Args:
        mlp: the layers.
        routing_weights: the routing weights, (B, T), of the precision of x.
        x: the tokens, (B, N, D).
        budget: the budget of the kernel; by default the one that suits the device.
    """
    if budget is None:
        budget = budget_for(x)
    bias = mlp.first.merged_bias(routing_weights)
    out: Tensor = TiledMLP.apply(x, routing_weights, bias, mlp, budget)
    return out.add_(mlp.second.merged_bias(routing_weights)[:, None])


def tiling_of(x: Tensor, mlp: TwoLayers, budget: Budget, rows: int | None = None) -> Tiling:
    """Return the tiling of a batch (B, N, D) with `rows` sets of merged weights; by default B.

    If samples share weights, their activations are computed for one row after another, and take no
    room in the tile.
    """
    activations = TILE_ACTIVATIONS * x.shape[1] if rows is None else 0
    rows = len(x) if rows is None else rows
    unit_bytes = (widest(mlp) + activations) * x.element_size()
    work = x.shape[:2].numel() * (mlp.first.weight.numel() + mlp.second.weight.numel())
    threads = threads_for(x, work, budget.threaded)
    converted = max(layer.converted(x.dtype) for layer in mlp.layers)
    return Tiling.of(rows, mlp.hidden, unit_bytes, budget, threads, x.nbytes, converted)


def widest(mlp: TwoLayers) -> int:
    """Return the larger length: a hidden unit's row in one layer, or its column in the other."""
    return max(mlp.first.weight.shape[1], len(mlp.second.weight))
