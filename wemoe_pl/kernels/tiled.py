"""Weight space: merge the weights of some hidden entries at a time, use them, and forget them.

The hidden activations are never held whole either, unless there is room to keep them for the
backward pass, which merges weights anew and never holds the gradient of more than a tile. So
memory does not grow with the dictionary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from wemoe_pl.kernels.threads import available, run_apart
from wemoe_pl.kernels.tiles import ACCELERATOR_ROOM, CPU_ROOM, Part, Room, Tiling
from wemoe_pl.kernels.two_layers import MergedLayer, TwoLayers

PAGE = 2**12  # bytes after which places of a cache recur
SUMMED_APART = 8  # parts of a tile, at most, for which gradients are summed


class Lines(NamedTuple):
    """What belongs to some hidden entries of one layer.

    Attributes:
        weight: (lines, D), pretrained.
        vectors: (T, lines, D), its task vectors.
    """

    weight: Tensor
    vectors: Tensor

    def merged(self, routing_weights: Tensor, room: Tensor) -> Tensor:
        """Routing weights (b, T) → merged weights (b, lines, D), in place of what is in `room`.

        A matrix product for each line: one for all of them, (b, T) · (T, lines · D), is so wide
        and so flat that libraries for the CPU take half as long again.
        """
        (lines, width), samples = self.weight.shape, len(routing_weights)
        # One sample more, of no use, where all lines would else begin in the same few places of
        # the cache.
        spare = samples > 1 and samples * width * room.element_size() % PAGE == 0
        shares = F.pad(routing_weights, (0, 0, 0, spare)).expand(lines, -1, -1)
        merged = room[: lines * (samples + spare) * width].view(lines, -1, width)
        torch.baddbmm(self.weight[:, None], shares, self.vectors.transpose(0, 1), out=merged)
        return merged.transpose(0, 1)[:samples]

    def contracted(self, left: Tensor, right: Tensor, room: Tensor) -> Tensor:
        """What the weights' gradient says of each task vector, (b, T).

        The gradient of a sample's merged weights, (b, lines, D) = leftᵀ · right, is summed over
        its N tokens, and ⟨gradient, τ_i⟩ is that of its routing weight r_i.
        """
        samples, count = len(left), len(self.vectors)
        gradient = room[: samples * self.weight.numel()].view(samples, *self.weight.shape)
        torch.bmm(left.mT, right, out=gradient)
        # In some parts: a single sum of such a length takes longer, and can't be shared out.
        parts = gcd(len(self.weight), SUMMED_APART)
        by_part = gradient.view(samples, parts, -1).permute(1, 2, 0)
        return (self.vectors.view(count, parts, -1).transpose(0, 1) @ by_part).sum(dim=0).T


def lines_of(layer: MergedLayer, entries: slice, dim: int, dtype: torch.dtype) -> Lines:
    """Rows (dim 0) or columns (dim 1) of a layer."""
    weight = layer.weight if dim == 0 else layer.weight.mT
    vectors = layer.vectors.tile(entries.start, entries.stop, dim, dtype)
    base = weight[entries].to(dtype).contiguous()
    # Line after line of each vector: a copy only where they do not lie so already.
    return Lines(base, vectors.reshape(len(vectors), -1).view(len(vectors), *base.shape))


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


@dataclass(frozen=True)
class Batch:
    """What is seen of some samples, and the layers that see it.

    Attributes:
        mlp: the layers.
        x: (B, N, D).
        routing_weights: (B, T).
        bias: the merged ones of the first layer, (B, H).
        tiling: how it is cut.
    """

    mlp: TwoLayers
    x: Tensor
    routing_weights: Tensor
    bias: Tensor
    tiling: Tiling

    def lines(self, entries: slice) -> tuple[Lines, Lines]:
        """Rows of the first layer and columns of the second."""
        first = lines_of(self.mlp.first, entries, 0, self.x.dtype)
        return first, lines_of(self.mlp.second, entries, 1, self.x.dtype)

    def workspace(self) -> Tensor:
        """Room for the merged weights of one tile, and of a sample to spare."""
        return self.x.new_empty((self.tiling.group + 1) * self.tiling.lines * widest(self.mlp))

    def before(self, entries: slice, group: slice, weights: Tensor) -> Tensor:
        """What comes before the activation."""
        return torch.baddbmm(self.bias[group, None, entries], self.x[group], weights.mT)

    def forward(self, part: Part, out: Tensor, kept: list[Activated] | None) -> None:
        """Add what some hidden entries come to; keep them, if there is a list for it."""
        space, act = self.workspace(), self.mlp.act
        for entries in part.entries:
            first, second = self.lines(entries)
            for group in part.groups:
                shares = self.routing_weights[group]
                before = self.before(entries, group, first.merged(shares, space))
                if kept is None:
                    hidden = act(before)
                else:
                    kept.append(Activated.of(act, before))
                    hidden = kept[-1].values
                out[group].baddbmm_(hidden, second.merged(shares, space))

    def backward(
        self, part: Part, upstream: Tensor, to: Gradients, kept: Sequence[Activated]
    ) -> None:
        """Add to gradients what comes through some hidden entries, which are merged anew."""
        space, waiting = self.workspace(), iter(kept)
        other = space if kept else self.workspace()
        for entries in part.entries:
            first, second = self.lines(entries)
            for group in part.groups:
                seen, error, shares = self.x[group], upstream[group], self.routing_weights[group]
                weights, hidden = None, next(waiting, None)
                if hidden is None:
                    weights = first.merged(shares, other)
                    hidden = Activated.of(self.mlp.act, self.before(entries, group, weights))
                to_before = hidden.gradient(error @ second.merged(shares, space).mT)
                to.bias[group, entries] = to_before.sum(dim=1)
                if to.routing is not None:
                    to.routing[group] += second.contracted(hidden.values, error, space)
                if to.x is not None:
                    if weights is None:
                        weights = first.merged(shares, space)
                    to.x[group].baddbmm_(to_before, weights)
                if to.routing is not None:
                    to.routing[group] += first.contracted(to_before, seen, space)


class TiledMLP(torch.autograd.Function):
    """`second(act(first x))` without the last bias; gradients to x, routing weights and bias."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, routing_weights: Tensor, bias: Tensor, mlp: TwoLayers, room: Room
    ) -> Tensor:
        """(B, N, D), (B, T) and merged biases (B, H) of the first layer → (B, N, D)."""
        ctx.save_for_backward(x, routing_weights, bias)
        ctx.mlp, ctx.tiling = mlp, tiling_of(x, mlp, room)
        batch, parts = Batch(mlp, x, routing_weights, bias, ctx.tiling), ctx.tiling.parts()
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
        batch = Batch(ctx.mlp, x, routing_weights, bias, ctx.tiling)
        upstream, wants = gradients[0].to(x.dtype), ctx.needs_input_grad
        xs = ctx.tiling.sums(x)
        routings = ctx.tiling.sums(routing_weights, torch.promote_types(x.dtype, torch.float32))
        to_bias = torch.empty_like(bias)

        def run(part: Part) -> None:
            to = Gradients(
                xs[part.number] if wants[0] else None,
                routings[part.number] if wants[1] else None,
                to_bias,
            )
            batch.backward(part, upstream, to, ctx.kept[part.number] or ())

        run_apart(run, ctx.tiling.parts())
        sums = (ctx.tiling.total(xs), ctx.tiling.total(routings).to(x.dtype), to_bias)
        asked = (each if want else None for each, want in zip(sums, wants, strict=False))
        return *asked, None, None


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
    threads = available() if x.device.type == "cpu" else 1
    line_bytes = widest(mlp) * x.element_size()
    return Tiling.of(len(x), mlp.hidden, line_bytes, room, threads, sum_bytes=x.nbytes)


def widest(mlp: TwoLayers) -> int:
    """The longer of what belongs to one hidden entry: a row of one layer, a column of the other."""
    return max(mlp.first.weight.shape[1], len(mlp.second.weight))
