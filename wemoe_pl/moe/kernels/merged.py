"""Define `merged_mlp` and `merged_module`, the functions that have several kernels."""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from wemoe_pl.moe.dictionary import Dictionary
from wemoe_pl.moe.kernels.choice import choose_kernel
from wemoe_pl.moe.kernels.merged_layer import by_sample
from wemoe_pl.moe.kernels.own_forward import own_forward
from wemoe_pl.moe.kernels.plain import mapped
from wemoe_pl.moe.kernels.two_layers import two_layers


def merged_mlp(
    mlp: nn.Module,
    dictionary: Dictionary,
    routing_weights: Tensor,
    x: Tensor,
    one_by_one: bool = False,
) -> Tensor:
    """Run sample b through `mlp` with the weights W0 + Σ_i r_bi τ_i, biases alike (paper §3.2).

    `naive_mlp` does the same in a few lines.

    Args:
        mlp: the pretrained MLP, whose parameters are W0; it is not modified.
        dictionary: the T task vectors of each of its parameters.
        routing_weights: the routing weights, (B, T), or (1, T) for all samples together.
        x: B samples of tokens or features, (B, …, D). All tokens of a sample share its weights.
        one_by_one: True if its forward must see every sample alone; see `why_mapped`.

    Returns:
        The output of the MLP, in the shape that `mlp` gives for `x`, and differentiable once by
        `routing_weights` and `x`.
    """
    layers = two_layers(mlp, dictionary)
    if layers is None:
        run = mapped if one_by_one else merged_module
        return run(mlp, dictionary, routing_weights, x)
    device, dtype = x.device.type, layers.first.weight.dtype
    if not x.is_meta and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
    tokens = by_sample(x, routing_weights).to(dtype)
    routing_weights = routing_weights.to(dtype)
    with nullcontext() if x.is_meta else torch.autocast(device, enabled=False):
        kernel = choose_kernel(layers, routing_weights, tokens)
        out = kernel(layers, routing_weights, tokens)
    return out.view(*x.shape[:-1], out.shape[-1])


def merged_module(
    module: nn.Module,
    dictionary: Dictionary,
    routing_weights: Tensor,
    x: Tensor,
    *args: Any,
    **kwargs: Any,
) -> Tensor:
    """Run sample b through a module with the weights W0 + Σ_i r_bi τ_i; see `merged_mlp`.

    Args:
        module: a module against which `why_mapped` gives no reason, such as attention.
        dictionary: the T task vectors of each of its parameters.
        routing_weights: the routing weights, (B, T), or (1, T) for all samples together.
        x: the input, (B, …, D).
        *args: further arguments of its forward, the same for all samples.
        **kwargs: further keyword arguments of its forward, likewise.
    """
    # A compiler can trace functions, but not copies of modules; an exporter runs modules.
    traced = torch.compiler.is_compiling() and not torch.compiler.is_exporting()
    run = mapped if traced or x.is_meta else own_forward
    return run(module, dictionary, routing_weights, x, *args, **kwargs)
