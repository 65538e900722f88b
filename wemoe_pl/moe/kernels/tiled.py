"""Weight space: merge the weights of some hidden units for some samples, use them, forget them.

The MLP is Y = act(X W1ᵀ + c) W2ᵀ + d, where W1, c, W2 and d are W0 + Σ_i r_i τ_i for each sample.
For a tile, W1 has the rows and W2 the columns that belong to its hidden units, each (u, D):

    forward     A = X W1ᵀ + c      H = act(A)              Y += H W2
    backward    ∂H = ∂Y W2ᵀ        ∂A = act'(A) ∂H         ∂c = Σ_n ∂A        ∂X += ∂A W1
                ∂r_i += ⟨Hᵀ ∂Y, τ2_i⟩ + ⟨∂Aᵀ X, τ1_i⟩

All are batched products over the samples of the tile. Neither the merged weights nor their gradient
are ever held for more than a tile, and A and H only if there is room to keep them for the backward
pass; so memory does not grow with the dictionary.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from wemoe_pl.moe.kernels.threads import run_in_threads, threads_for
from wemoe_pl.moe.kernels.tile_weights import TileWeights, tile_weights, with_margins
from wemoe_pl.moe.kernels.tiling import Budget, ThreadTiles, Tiling, budget_for
from wemoe_pl.moe.kernels.two_layers import TwoLayers

TILE_ACTIVATIONS = 4  # of a tile, which share its room in the cache: A, H and their gradients


class Activated(NamedTuple):
    """The activation of a tile as autograd sees it: A before it, and H after it."""

    before: Tensor
    after: Tensor

    @classmethod
    def of(cls, act: Callable[[Tensor], Tensor], before: Tensor) -> "Activated":
        """Apply an activation."""
        with torch.enable_grad():
            leaf = before.detach().requires_grad_()
            return cls(leaf, act(leaf))

    @property
    def values(self) -> Tensor:
        """H, without autograd."""
        return self.after.detach()

    def gradient(self, to_after: Tensor) -> Tensor:
        """Return ∂A, the gradient before the activation, for ∂H after it."""
        return torch.autograd.grad(self.after, self.before, to_after, retain_graph=True)[0]


class Gradients(NamedTuple):
    """Gradients to add to; None where none is asked for.

    Attributes:
        x: of the tokens, (B, N, D).
        routing: of the routing weights, (B, T).
        bias: of the first layer's merged biases, (B, H).
    """

    x: Tensor | None
    routing: Tensor | None
    bias: Tensor


@dataclass(frozen=True)
class TiledPass:
    """The computation of a batch, tile by tile, by several threads.

    Attributes:
        mlp: the layers.
        x: X, (B, N, D).
        routing: the routing weights in their margins, (B + 1, T + 1); see `with_margins`.
        bias: c, the merged biases of the first layer, (B, H).
        tiling: how samples and hidden units are cut.
        first: the number of a tile → its rows of the first layer.
        second: the number of a tile → its columns of the second layer.
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
        """Add what one thread's tiles come to; keep A and H if there is a list for them."""
        workspace = self.new_workspace()
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
        """Add to gradients what comes through one thread's tiles, whose weights are merged anew."""
        workspace, waiting = self.new_workspace(), iter(kept)
        for tile in work.tiles:
            first, second = self.first(tile), self.second(tile)
            for samples in work.groups:
                to_out, hidden = upstream[samples], next(waiting, None)
                if hidden is None:  # it was not kept
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
        """A, (b, N, u)."""
        bias = self.bias[samples, None, self.tiling.units_of(tile)]
        return torch.baddbmm(
            bias, self.x[samples], first.merged_for(samples, self.routing, workspace).mT
        )

    def new_workspace(self) -> Tensor:
        """Room for the weights of one tile, or their gradient, with a sample to spare."""
        return self.x.new_empty((self.tiling.group + 1) * self.tiling.units * widest(self.mlp))


class TiledMLP(torch.autograd.Function):
    """`second(act(first x))` without the last bias; gradients to x, routing weights and bias."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, routing_weights: Tensor, bias: Tensor, mlp: TwoLayers, budget: Budget
    ) -> Tensor:
        """(B, N, D), (B, T) and merged biases (B, H) of the first layer → (B, N, D)."""
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
        """∂Y, (B, N, D) → ∂X, ∂r and ∂c, those that are asked for."""
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
    """The two layers in weight space: routing weights (B, T) and x (B, N, D) → (B, N, D).

    Args:
        mlp: the layers.
        routing_weights: (B, T), of the precision of x.
        x: (B, N, D).
        budget: what may be used; by default what suits the device.
    """
    if budget is None:
        budget = budget_for(x)
    bias = mlp.first.merged_bias(routing_weights)
    out: Tensor = TiledMLP.apply(x, routing_weights, bias, mlp, budget)
    return out.add_(mlp.second.merged_bias(routing_weights)[:, None])


def tiling_of(x: Tensor, mlp: TwoLayers, budget: Budget, rows: int | None = None) -> Tiling:
    """Tiles for a batch (B, N, D), of which some rows have weights of their own; by default B.

    Samples that share weights come one row after the other, and take no room together.
    """
    activations = TILE_ACTIVATIONS * x.shape[1] if rows is None else 0
    rows = len(x) if rows is None else rows
    unit_bytes = (widest(mlp) + activations) * x.element_size()
    work = x.shape[:2].numel() * (mlp.first.weight.numel() + mlp.second.weight.numel())
    threads = threads_for(x, work, budget.threaded)
    converted = max(layer.converted(x.dtype) for layer in mlp.layers)
    return Tiling.of(rows, mlp.hidden, unit_bytes, budget, threads, x.nbytes, converted)


def widest(mlp: TwoLayers) -> int:
    """The longer of what belongs to one hidden unit: a row of one layer, a column of the other."""
    return max(mlp.first.weight.shape[1], len(mlp.second.weight))
