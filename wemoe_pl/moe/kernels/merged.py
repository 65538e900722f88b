"""`merged_mlp`: the one function, and the way in which it is computed."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from wemoe_pl.moe.dictionary import Dictionary
from wemoe_pl.moe.kernels.activation_space import activation_mlp
from wemoe_pl.moe.kernels.costs import Load, activation_space_cost, weight_space_cost
from wemoe_pl.moe.kernels.fused import fused_mlp, fuses
from wemoe_pl.moe.kernels.mapped import mapped_mlp
from wemoe_pl.moe.kernels.race import quickest
from wemoe_pl.moe.kernels.tiled import tiled_mlp, untiled_mlp
from wemoe_pl.moe.kernels.two_layers import TwoLayers, Way, two_layers

TYPICAL_SHAPE = (16, 50)  # samples and tokens that a compiled program is chosen for


def merged_mlp(
    mlp: nn.Module, dictionary: Dictionary, routing_weights: Tensor, x: Tensor
) -> Tensor:
    """Run sample b through `mlp` with the weights W0 + Σ_i r_bi τ_i, biases alike (paper §3.2).

    Args:
        mlp: the pretrained MLP, whose parameters are W0; it is not modified.
        dictionary: the T task vectors of each of its parameters.
        routing_weights: (B, T).
        x: (B, …, D): B samples of tokens or features. Whatever lies in between shares weights.

    Returns:
        The output of the MLP, of the shape that `mlp` gives `x`, and differentiable once by
        `routing_weights` and `x`.
    """
    layers = two_layers(mlp, dictionary)
    if layers is None:
        return mapped_mlp(mlp, dictionary, routing_weights, x)
    device, dtype = x.device.type, layers.first.weight.dtype
    if not x.is_meta and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
    tokens = (x.flatten(1, -2) if x.ndim > 2 else x[:, None]).to(dtype)
    routing_weights = routing_weights.to(dtype)
    with nullcontext() if x.is_meta else torch.autocast(device, enabled=False):
        out = fastest(layers, routing_weights, tokens)(layers, routing_weights, tokens)
    return out.view(*x.shape[:-1], out.shape[-1])


def fastest(mlp: TwoLayers, routing_weights: Tensor, x: Tensor) -> Way:
    """How to compute a merged MLP of tokens (B, N, D), by what it would cost."""
    # A compiler is given plain operations for a batch of any size, which it fuses as it likes.
    traced = torch.compiler.is_compiling() or x.is_meta
    samples, tokens = TYPICAL_SHAPE if traced else x.shape[:2]
    load = Load(samples, tokens, torch.is_grad_enabled() and routing_weights.requires_grad)
    if activation_space_cost(mlp, load) < weight_space_cost(mlp, load):
        return activation_mlp
    if traced:
        return untiled_mlp
    if x.is_cuda and fuses(mlp, x):
        return quickest([tiled_mlp, fused_mlp], mlp, routing_weights, x)
    return tiled_mlp
