"""Weight space: merge the weights of some hidden entries at a time, use them, and forget them.

A tile is what some samples' merged weights of some hidden entries take: small enough to stay in a
CPU's cache between being merged and being multiplied. The hidden activations are never held whole
either, unless there is room to keep them for the backward pass, which merges weights anew and
never holds the gradient of more than a tile. So memory does not grow with the dictionary.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, gcd
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from wemoe_pl.kernels.two_layers import MergedLayer, TwoLayers

LINES = 96  # hidden entries of a tile, at least: a whole number of blocks of sparse task vectors
SUMMED_APART = 8  # parts of a tile, at most, for which threads sum gradients


class Room(NamedTuple):
    """Bytes that may be used.

    Attributes:
        tile: for the merged weights of one tile, of one of the two layers.
        kept: for hidden activations to wait for the backward pass.
    """

    tile: int
    kept: int


# Two tiles fit in the cache of a few cores; an accelerator is better served by few large products.
CPU_ROOM = Room(tile=6 * 2**20, kept=32 * 2**20)
ACCELERATOR_ROOM = Room(tile=256 * 2**20, kept=2**30)


@dataclass(frozen=True)
class Tiling:
    """Which samples and hidden entries are computed together.

    Attributes:
        samples: B.
        hidden: H.
        group: how many samples.
        lines: how many hidden entries.
    """

    samples: int
    hidden: int
    group: int
    lines: int

    @classmethod
    def of(cls, samples: int, hidden: int, line_bytes: int, room: int) -> "Tiling":
        """Tiles of at most `room` bytes, or of one sample: as many samples as leave `LINES`.

        >>> Tiling.of(samples=128, hidden=3072, line_bytes=4 * 768, room=6 * 2**20)
        Tiling(samples=128, hidden=3072, group=16, lines=96)
        >>> Tiling.of(samples=1, hidden=3072, line_bytes=4 * 768, room=6 * 2**20)
        Tiling(samples=1, hidden=3072, group=1, lines=2016)
        """
        fit = max(1, room // (LINES * line_bytes))
        most = 1 << (fit.bit_length() - 1)  # a power of 2, which threads share evenly
        group = ceil(samples / max(1, ceil(samples / most))) or 1
        lines = max(1, room // (group * line_bytes * LINES)) * LINES
        return cls(samples, hidden, group, min(lines, hidden))

    def tiles(self) -> Iterator[slice]:
        """The hidden entries, some at a time."""
        return slices(self.hidden, self.lines)

    def groups(self) -> Iterator[slice]:
        """The samples, some at a time."""
        return slices(self.samples, self.group)


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
        lines, width = self.weight.shape
        shares = routing_weights.expand(lines, -1, -1)
        merged = room[: shares.shape[1] * self.weight.numel()].view(lines, -1, width)
        torch.baddbmm(self.weight[:, None], shares, self.vectors.transpose(0, 1), out=merged)
        return merged.transpose(0, 1)

    def contracted(self, left: Tensor, right: Tensor, room: Tensor) -> Tensor:
        """What the weights' gradient says of each task vector, (b, T).

        The gradient of a sample's merged weights, (b, lines, D) = leftᵀ · right, is summed over
        its N tokens, and ⟨gradient, τ_i⟩ is that of its routing weight r_i.
        """
        samples, count = len(left), len(self.vectors)
        gradient = room[: samples * self.weight.numel()].view(samples, *self.weight.shape)
        torch.bmm(left.mT, right, out=gradient)
        # In some parts, or a single thread would go along the whole length of the sums.
        parts = gcd(len(self.weight), SUMMED_APART)
        by_part = gradient.view(samples, parts, -1).transpose(0, 1)
        return (by_part @ self.vectors.view(count, parts, -1).permute(1, 2, 0)).sum(dim=0)


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


class TiledMLP(torch.autograd.Function):
    """`second(act(first x))` without the last bias; gradients to x, routing weights and bias."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, routing_weights: Tensor, bias: Tensor, mlp: TwoLayers, room: Room
    ) -> Tensor:
        """(B, N, D), (B, T) and merged biases (B, H) of the first layer → (B, N, D)."""
        ctx.mlp, ctx.tiling = mlp, tiling_of(x, mlp, room)
        # What comes before the activation and what comes after it.
        keeps = any(ctx.needs_input_grad) and 2 * x.shape[1] * bias.nbytes <= room.kept
        ctx.kept = []
        out = x.new_zeros(*x.shape[:2], len(mlp.second.weight))
        space = workspace(x, mlp, ctx.tiling)
        for entries in ctx.tiling.tiles():
            first, second = lines_of_both(mlp, entries, x.dtype)
            for group in ctx.tiling.groups():
                shares = routing_weights[group]
                weights = first.merged(shares, space).mT
                before = torch.baddbmm(bias[group, None, entries], x[group], weights)
                hidden = Activated.of(mlp.act, before) if keeps else mlp.act(before)
                if isinstance(hidden, Activated):
                    ctx.kept.append(hidden)
                    hidden = hidden.values
                out[group].baddbmm_(hidden, second.merged(shares, space))
        ctx.save_for_backward(x, routing_weights, bias)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """One tile after another, each merged anew."""
        x, routing_weights, bias = ctx.saved_tensors
        upstream = gradients[0].to(x.dtype)
        to_x, to_bias = torch.zeros_like(x), torch.empty_like(bias)
        to_routing = torch.zeros_like(
            routing_weights, dtype=torch.promote_types(x.dtype, torch.float32)
        )
        spaces = [workspace(x, ctx.mlp, ctx.tiling) for _ in range(2)]
        kept = iter(ctx.kept)
        for entries in ctx.tiling.tiles():
            first, second = lines_of_both(ctx.mlp, entries, x.dtype)
            for group in ctx.tiling.groups():
                shares, seen, error = routing_weights[group], x[group], upstream[group]
                weights = first.merged(shares, spaces[0])
                hidden = next(kept, None)
                if hidden is None:
                    before = torch.baddbmm(bias[group, None, entries], seen, weights.mT)
                    hidden = Activated.of(ctx.mlp.act, before)
                to_before = hidden.gradient(error @ second.merged(shares, spaces[1]).mT)
                to_bias[group, entries] = to_before.sum(dim=1)
                if ctx.needs_input_grad[0]:
                    to_x[group].baddbmm_(to_before, weights)
                if ctx.needs_input_grad[1]:
                    to_routing[group] += second.contracted(hidden.values, error, spaces[1])
                    to_routing[group] += first.contracted(to_before, seen, spaces[0])
        wanted = zip((to_x, to_routing.to(x.dtype), to_bias), ctx.needs_input_grad, strict=False)
        return *(gradient if needed else None for gradient, needed in wanted), None, None


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


def lines_of_both(mlp: TwoLayers, entries: slice, dtype: torch.dtype) -> tuple[Lines, Lines]:
    """Rows of the first layer and columns of the second."""
    return lines_of(mlp.first, entries, 0, dtype), lines_of(mlp.second, entries, 1, dtype)


def tiling_of(x: Tensor, mlp: TwoLayers, room: Room) -> Tiling:
    """Tiles for a batch (B, N, D)."""
    return Tiling.of(len(x), mlp.hidden, widest(mlp) * x.element_size(), room.tile)


def workspace(x: Tensor, mlp: TwoLayers, tiling: Tiling) -> Tensor:
    """Room for the merged weights of one tile."""
    return x.new_empty(tiling.group * tiling.lines * widest(mlp))


def widest(mlp: TwoLayers) -> int:
    """The longer of what belongs to one hidden entry: a row of one layer, a column of the other."""
    return max(mlp.first.weight.shape[1], len(mlp.second.weight))


def slices(length: int, step: int) -> Iterator[slice]:
    """0 to `length` in steps."""
    return (slice(i, min(i + step, length)) for i in range(0, length, step))
