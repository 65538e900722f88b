"""Compute the mean over tokens of a hidden layer, without holding all of its activations.

A router of two layers does this before its last layer: (B, N, D) in, (B, H) out. Only the signs of
the activations are kept for the backward pass, a byte each.
"""

from collections.abc import Iterator
from math import ceil
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from wemoe_pl.moe.kernels.naive import naive_hidden_mean

# The bytes of activations that are held at a time, or those of one sample: they fit in a CPU's
# cache, and give an accelerator few large products.
CPU_CHUNK, ACCELERATOR_CHUNK = 5 * 2**19, 256 * 2**20


class HiddenMean(torch.autograd.Function):
    """A `HiddenMean` is `hidden_mean` with gradients to x, weight and bias."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Map (B, N, D), (H, D) and (H,) → (B, H)."""
        mean = x.new_empty(len(x), len(weight))
        active = x.new_empty(*x.shape[:2], len(weight), dtype=torch.bool)
        for samples in chunks(x, len(weight)):
            hidden = F.linear(x[samples], weight, bias)
            torch.gt(hidden, 0, out=active[samples])
            torch.mean(hidden.relu_(), dim=1, out=mean[samples])
        ctx.save_for_backward(x, weight, active)
        return mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Map the gradient (B, H) → those that are asked for, some samples at a time."""
        x, weight, active = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        share = gradients[0][:, None] / x.shape[1]
        to_x = x.new_empty(x.shape) if wants_x else None
        to_weight = torch.zeros_like(weight) if wants_weight else None
        to_bias = weight.new_zeros(len(weight)) if wants_bias else None
        for samples in chunks(x, len(weight)):
            to_hidden = active[samples].to(x.dtype).mul_(share[samples]).flatten(0, 1)
            if to_x is not None:
                torch.mm(to_hidden, weight, out=to_x[samples].flatten(0, 1))
            if to_weight is not None:
                to_weight.addmm_(to_hidden.T, x[samples].flatten(0, 1))
            if to_bias is not None:
                to_bias += to_hidden.sum(dim=0)
        return to_x, to_weight, to_bias


def hidden_mean(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the mean of relu(x Wᵀ + b) over tokens, as `naive_hidden_mean` computes it.

    Args:
        x: the tokens, (B, N, D).
        weight: W, (H, D).
        bias: b, (H,).

    Returns:
        A tensor (B, H), differentiable once.

    >>> hidden_mean(torch.tensor([[[1.0], [-3.0]]]), torch.eye(1), torch.zeros(1))
    tensor([[0.5000]])
    """
    # A compiler can fuse plain operations by itself, and autocast chooses their precision.
    plain = torch.compiler.is_compiling() or x.is_meta or not torch.is_grad_enabled()
    if plain or torch.is_autocast_enabled(x.device.type):
        return naive_hidden_mean(x, weight, bias)
    return HiddenMean.apply(x, weight, bias)


def chunks(x: Tensor, hidden: int) -> Iterator[slice]:
    """Yield slices of the samples of x (B, N, D), as even as possible, whose activations fit."""
    samples, tokens = x.shape[:2]
    most_bytes = CPU_CHUNK if x.device.type == "cpu" else ACCELERATOR_CHUNK
    most = max(1, most_bytes // max(1, tokens * hidden * x.element_size()))
    step = ceil(samples / ceil(samples / most)) if samples else 1
    return (slice(i, i + step) for i in range(0, samples, step))
