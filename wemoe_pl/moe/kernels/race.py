"""Where nobody can say beforehand which way is faster, as on a GPU, it is tried out once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from wemoe_pl.moe.kernels.timing import interleaved
from wemoe_pl.moe.kernels.two_layers import TwoLayers, Way

REPEATS = 3
winners: dict[tuple[object, ...], Way] = {}  # by load, for as long as the program runs


def quickest(ways: Sequence[Way], mlp: TwoLayers, routing_weights: Tensor, x: Tensor) -> Way:
    """The fastest way for loads of this kind, which the first one is timed on.

    Other ways round in other ways. So there is no race, and the first way is taken, where torch
    was asked for deterministic algorithms.

    Args:
        ways: to choose from.
        mlp: the layers.
        routing_weights: (B, T).
        x: (B, N, D). Batches up to the next power of two are of one kind.
    """
    if torch.are_deterministic_algorithms_enabled():
        return ways[0]
    learning = torch.is_grad_enabled() and routing_weights.requires_grad
    batch = 1 << (len(x) - 1).bit_length()
    kind = (*ways, x.device, x.dtype, batch, *x.shape[1:], mlp.hidden, *routing_weights.shape[1:])
    kind = (*kind, mlp.first.weight.dtype, learning)
    if kind not in winners:
        winners[kind] = race(ways, mlp, routing_weights, x, learning)
    return winners[kind]


def race(
    ways: Sequence[Way], mlp: TwoLayers, routing_weights: Tensor, x: Tensor, learning: bool
) -> Way:
    """The way with the least median time, forward, and backward where something is learned."""
    inputs = [tensor.detach().requires_grad_(learning) for tensor in (routing_weights, x)]

    def run(way: Way) -> None:
        out = way(mlp, *inputs)
        if learning:
            torch.autograd.grad(out, inputs, torch.ones_like(out))

    seconds = interleaved(
        {i: lambda way=way: run(way) for i, way in enumerate(ways)},  # type: ignore[misc]
        REPEATS,
        x.device.type,
    )
    return ways[min(seconds, key=lambda i: seconds[i])]
