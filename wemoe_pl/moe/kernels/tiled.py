"""Weight space: merge the weights of some hidden entries at a time, use them, and forget them.

The hidden activations are never held whole either, unless there is room to keep them for the
backward pass, which merges weights anew and never holds the gradient of more than a tile. So
memory does not grow with the dictionary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import gcd, prod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from wemoe_pl.moe.kernels.threads import available, run_apart
from wemoe_pl.moe.kernels.tiles import ACCELERATOR_ROOM, CPU_ROOM, Part, Room, Tiling
from wemoe_pl.moe.kernels.two_layers import MergedLayer, TwoLayers

SUMMED_APART = 8  # parts of a tile, at most, for which gradients are summed


class Workspace:
    """Room for the merged weights of one tile, or for their gradient, used again and again.

    Args:
        room: as many numbers as that takes, with a sample to spare.
    """

    def __init__(self, room: Tensor):
        self.room = room
        self.views: dict[tuple[int, ...], Tensor] = {}

    def view(self, *shape: int) -> Tensor:
        """The room, or the beginning of it, in some shape."""
        if shape not in self.views:
            self.views[shape] = self.room[: prod(shape)].view(shape)
        return self.views[shape]


class Lines(NamedTuple):
    """What belongs to some hidden entries of one layer.

    Attributes:
        weight: (lines, 1, D), pretrained.
        vectors: (T, lines, D), its task vectors.
    """

    weight: Tensor
    vectors: Tensor

    def merged(self, shares: Tensor, space: Workspace) -> Tensor:
        """Routing weights (b, T) → merged weights (b, lines, D), in a workspace.

        A matrix product for each line: one for all of them, (b, T) · (T, lines · D), is so wide
        and so flat that libraries for the CPU take half as long again.
        """
        lines, _, width = self.weight.shape
        merged = space.view(lines, len(shares), width)
        by_line = shares.expand(lines, -1, -1)
        torch.baddbmm(self.weight, by_line, self.vectors.transpose(0, 1), out=merged)
        return merged.transpose(0, 1)

    def contracted(self, left: Tensor, right: Tensor, space: Workspace) -> Tensor:
        """What the weights' gradient says of each task vector, (b, T).

        The gradient of a sample's merged weights, (b, lines, D) = leftᵀ · right, is summed over
        its N tokens, and ⟨gradient, τ_i⟩ is that of its routing weight r_i.
        """
        samples, (count, lines, width) = len(left), self.vectors.shape
        gradient = torch.bmm(left.mT, right, out=space.view(samples, lines, width))
        # In some parts: a single sum of such a length takes longer, and can't be shared out.
        parts = gcd(lines, SUMMED_APART)
        by_part = gradient.view(samples, parts, -1).permute(1, 2, 0)
        return (self.vectors.view(count, parts, -1).transpose(0, 1) @ by_part).sum(dim=0).T


def lines_of(
    layer: MergedLayer, dim: int, tiling: Tiling, dtype: torch.dtype
) -> Callable[[int], Lines]:
    """The number of a tile → rows (dim 0) or columns (dim 1) of a layer."""
    weight = layer.weight if dim == 0 else layer.weight.mT
    weights = weight[:, None].split(tiling.lines)
    vectors = layer.vectors.tiles(tiling.hidden, tiling.lines, dim, dtype)
    return lambda tile: Lines(weights[tile].to(dtype).contiguous(), by_lines(vectors(tile)))


def by_lines(vectors: Tensor) -> Tensor:
    """Line after line of each vector: a copy only where they do not lie so already."""
    return vectors if vectors.stride()[1:] == (vectors.shape[2], 1) else vectors.contiguous()


class Activated(NamedTuple):
    """What comes before an activation, and what comes after it, as autograd sees them."""

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
        """What comes after it."""
        return self.after.detach()

    def gradient(self, to_after: Tensor) -> Tensor:
        """A gradient on its way back through the activation."""
        return torch.autograd.grad(self.after, self.before, to_after, retain_graph=True)[0]


class ToSamples(NamedTuple):
    """Gradients to some samples, of which those to the biases lie tile by tile."""

    x: Tensor | None
    routing: Tensor | None
    biases: Sequence[Tensor]


class Gradients(NamedTuple):
    """What is added to; None where no gradient is asked for.

    Attributes:
        x: that of the tokens, (B, N, D).
        routing: that of the routing weights, (B, T).
        bias: that of the first layer's merged biases, (B, H).
    """

    x: Tensor | None
    routing: Tensor | None
    bias: Tensor

    def of(self, group: slice, lines: int) -> ToSamples:
        """Those of some samples."""
        x = None if self.x is None else self.x[group]
        routing = None if self.routing is None else self.routing[group]
        return ToSamples(x, routing, self.bias[group].split(lines, dim=1))


class Samples(NamedTuple):
    """What is seen of some samples.

    Attributes:
        x: (b, N, D).
        biases: the merged ones of the first layer by tile, (b, 1, lines).
        shares: routing weights, (b, T) or (b + 1, T).
    """

    x: Tensor
    biases: Sequence[Tensor]
    shares: Tensor

    def merged(self, lines: Lines, space: Workspace) -> Tensor:
        """Merged weights, (b, lines, D)."""
        return lines.merged(self.shares, space)[: len(self.x)]

    def before(self, tile: int, weights: Tensor) -> Tensor:
        """What comes before the activation."""
        return torch.baddbmm(self.biases[tile], self.x, weights.mT)


@dataclass(frozen=True)
class Batch:
    """What is seen of all samples, and the layers that see it.

    Attributes:
        mlp: the layers.
        x: (B, N, D).
        routing_weights: (B, T).
        bias: the merged ones of the first layer, (B, H).
        tiling: how it is cut.
        rows: of the first layer, by tile.
        columns: of the second.
    """

    mlp: TwoLayers
    x: Tensor
    routing_weights: Tensor
    bias: Tensor
    tiling: Tiling
    rows: Callable[[int], Lines]
    columns: Callable[[int], Lines]

    @classmethod
    def of(
        cls, mlp: TwoLayers, x: Tensor, routing_weights: Tensor, bias: Tensor, tiling: Tiling
    ) -> "Batch":
        """Cut the layers, once for all threads."""
        rows = lines_of(mlp.first, 0, tiling, x.dtype)
        columns = lines_of(mlp.second, 1, tiling, x.dtype)
        return cls(mlp, x, routing_weights, bias, tiling, rows, columns)

    def samples(self, group: slice) -> Samples:
        """Some of them.

        If their number is even, one more is merged, of no use: all lines would else begin in the
        same few places of the cache.
        """
        biases = self.bias[group, None].split(self.tiling.lines, dim=2)
        shares = self.routing_weights[group]
        return Samples(self.x[group], biases, F.pad(shares, (0, 0, 0, 1 - len(shares) % 2)))

    def workspace(self) -> Workspace:
        """Room for one tile."""
        lines = (self.tiling.group + 1) * self.tiling.lines
        return Workspace(self.x.new_empty(lines * widest(self.mlp)))

    def forward(self, part: Part, out: Tensor, kept: list[Activated] | None) -> None:
        """Add what some hidden entries come to; keep them, if there is a list for it."""
        space = self.workspace()
        groups = [(self.samples(group), out[group]) for group in part.groups]
        for tile in part.tiles:
            rows, columns = self.rows(tile), self.columns(tile)
            for some, sums in groups:
                before = some.before(tile, some.merged(rows, space))
                if kept is None:
                    hidden = self.mlp.act(before)
                else:
                    kept.append(Activated.of(self.mlp.act, before))
                    hidden = kept[-1].values
                sums.baddbmm_(hidden, some.merged(columns, space))

    def backward(
        self, part: Part, upstream: Tensor, to: Gradients, kept: Sequence[Activated]
    ) -> None:
        """Add to gradients what comes through some hidden entries, which are merged anew."""
        space, waiting = self.workspace(), iter(kept)
        groups = [
            (self.samples(group), upstream[group], to.of(group, self.tiling.lines))
            for group in part.groups
        ]
        for tile in part.tiles:
            rows, columns = self.rows(tile), self.columns(tile)
            for some, error, to_some in groups:
                hidden = next(waiting, None)
                if hidden is None:  # rather merge rows twice than hold them while columns are used
                    before = some.before(tile, some.merged(rows, space))
                    hidden = Activated.of(self.mlp.act, before)
                to_before = hidden.gradient(error @ some.merged(columns, space).mT)
                torch.sum(to_before, dim=1, out=to_some.biases[tile])
                if to_some.routing is not None:
                    to_some.routing.add_(columns.contracted(hidden.values, error, space))
                    to_some.routing.add_(rows.contracted(to_before, some.x, space))
                if to_some.x is not None:
                    to_some.x.baddbmm_(to_before, some.merged(rows, space))


class TiledMLP(torch.autograd.Function):
    """`second(act(first x))` without the last bias; gradients to x, routing weights and bias."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, routing_weights: Tensor, bias: Tensor, mlp: TwoLayers, room: Room
    ) -> Tensor:
        """(B, N, D), (B, T) and merged biases (B, H) of the first layer → (B, N, D)."""
        ctx.save_for_backward(x, routing_weights, bias)
        ctx.mlp, ctx.tiling = mlp, tiling_of(x, mlp, room)
        batch, parts = Batch.of(mlp, x, routing_weights, bias, ctx.tiling), ctx.tiling.parts()
        # What comes before the activation and what comes after it.
        keeps = any(ctx.needs_input_grad) and 2 * x.shape[1] * bias.nbytes <= room.kept
        ctx.kept = [[] if keeps else None for _ in parts]
        outs = ctx.tiling.sums(x.new_empty(*x.shape[:2], len(mlp.second.weight)))
        run_apart(lambda part: batch.forward(part, outs[part.number], ctx.kept[part.number]), parts)
        return ctx.tiling.total(outs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """One tile after another, each merged anew."""
        x, routing_weights, bias = ctx.saved_tensors
        batch = Batch.of(ctx.mlp, x, routing_weights, bias, ctx.tiling)
        upstream, wants = gradients[0].to(x.dtype), ctx.needs_input_grad
        precision = torch.promote_types(x.dtype, torch.float32)
        xs = ctx.tiling.sums(x) if wants[0] else None
        routings = ctx.tiling.sums(routing_weights, precision) if wants[1] else None
        to_bias = torch.empty_like(bias)

        def run(part: Part) -> None:
            to = Gradients(
                None if xs is None else xs[part.number],
                None if routings is None else routings[part.number],
                to_bias,
            )
            batch.backward(part, upstream, to, ctx.kept[part.number] or ())

        run_apart(run, ctx.tiling.parts())
        to_x = None if xs is None else ctx.tiling.total(xs)
        to_routing = None if routings is None else ctx.tiling.total(routings).to(x.dtype)
        return to_x, to_routing, to_bias if wants[2] else None, None, None


def tiled_mlp(
    mlp: TwoLayers, routing_weights: Tensor, x: Tensor, room: Room | None = None
) -> Tensor:
    """The two layers in weight space: routing weights (B, T) and x (B, N, D) → (B, N, D).

    Args:
        mlp: the layers.
        routing_weights: (B, T), of the precision of x.
        x: (B, N, D).
        room: bytes to use; by default what suits the device.
    """
    if room is None:
        room = CPU_ROOM if x.device.type == "cpu" else ACCELERATOR_ROOM
    bias = mlp.first.merged_bias(routing_weights)
    out: Tensor = TiledMLP.apply(x, routing_weights, bias, mlp, room)
    return out.add_(mlp.second.merged_bias(routing_weights)[:, None])


def untiled_mlp(mlp: TwoLayers, routing_weights: Tensor, x: Tensor) -> Tensor:
    """The same in plain operations, which hold the merged weights of all samples at once."""

    def run(layer: MergedLayer, x: Tensor) -> Tensor:
        merged = layer.weight.to(x.dtype) + layer.vectors.mix(routing_weights)
        return torch.baddbmm(layer.merged_bias(routing_weights)[:, None], x, merged.mT)

    return run(mlp.second, mlp.act(run(mlp.first, x)))


def tiling_of(x: Tensor, mlp: TwoLayers, room: Room) -> Tiling:
    """Tiles for a batch (B, N, D)."""
    line_bytes = widest(mlp) * x.element_size()
    work = x.shape[:2].numel() * (mlp.first.weight.numel() + mlp.second.weight.numel())
    threads = available() if x.device.type == "cpu" and work >= room.alone else 1
    return Tiling.of(len(x), mlp.hidden, line_bytes, room, threads, sum_bytes=x.nbytes)


def widest(mlp: TwoLayers) -> int:
    """The longer of what belongs to one hidden entry: a row of one layer, a column of the other."""
    return max(mlp.first.weight.shape[1], len(mlp.second.weight))
