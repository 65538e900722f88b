"""Define kernels of plain torch operations, which hold more than `tiled` or compute more.

* `activation_linear` merges nothing: (W0 + Σ_i r_i τ_i) x = W0 x + Σ_i r_i (τ_i x), at the price
  of T + 1 products with every token. This pays if tokens are few or task vectors have a low rank.
* `untiled_linear` merges the weights of all samples at once; a compiler can fuse its operations.
* `mapped` takes any module: its own `forward` is mapped over samples, each with merged weights.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from wemoe_pl.moe.dictionary import Dictionary
from wemoe_pl.moe.kernels.merged_layer import MergedLayer
from wemoe_pl.moe.kernels.two_layers import TwoLayers

# The bytes of merged weights at a time. Otherwise those of all blocks would be kept for backward.
MAPPED_BYTES = 256 * 2**20


def activation_linear(layer: MergedLayer, routing_weights: Tensor, x: Tensor) -> Tensor:
    """Apply W0 and every task vector to the tokens: (B, T) and x (B, N, n) → (B, N, m)."""
    bias = None if layer.bias is None else layer.bias.to(x.dtype)
    pretrained = F.linear(x, layer.weight.to(x.dtype), bias)
    if layer.bias_vectors is not None:
        pretrained.add_(layer.bias_vectors.mix(routing_weights)[:, None])
    return layer.vectors.add_applied(pretrained, x, routing_weights)


def untiled_linear(layer: MergedLayer, routing_weights: Tensor, x: Tensor) -> Tensor:
    """Merge the weights of all samples at once: (B, T) and x (B, N, n) → (B, N, m)."""
    merged = layer.weight.to(x.dtype) + layer.vectors.mix(routing_weights)
    return torch.baddbmm(layer.merged_bias(routing_weights)[:, None], x, merged.mT)


def activation_mlp(mlp: TwoLayers, routing_weights: Tensor, x: Tensor) -> Tensor:
    """Compute both layers by `activation_linear`: (B, T) and x (B, N, D) → (B, N, D)."""
    hidden = mlp.act(activation_linear(mlp.first, routing_weights, x))
    return activation_linear(mlp.second, routing_weights, hidden)


def untiled_mlp(mlp: TwoLayers, routing_weights: Tensor, x: Tensor) -> Tensor:
    """Compute both layers by `untiled_linear`: (B, T) and x (B, N, D) → (B, N, D)."""
    hidden = mlp.act(untiled_linear(mlp.first, routing_weights, x))
    return untiled_linear(mlp.second, routing_weights, hidden)


def mapped(
    module: nn.Module,
    dictionary: Dictionary,
    routing_weights: Tensor,
    x: Tensor,
    *args: Any,
    most_bytes: int = MAPPED_BYTES,
    **kwargs: Any,
) -> Tensor:
    """Map a module's own `forward` over samples, each with merged weights.

    Args:
        module: the module, of any class.
        dictionary: the task vectors of each of its parameters.
        routing_weights: the routing weights, (B, T), or (1, T) for all samples together.
        x: the input, (B, …, D).
        *args: further arguments of its forward, the same for all samples.
        most_bytes: the bytes of merged weights to hold at a time, at least those of one sample. If
            they do not suffice for all, weights are merged once more in the backward pass.
        **kwargs: further keyword arguments of its forward, the same for all samples.
    """
    weights = dict(module.named_parameters())
    routing_weights = routing_weights.to(next(iter(weights.values())).dtype)
    # Every sample becomes a batch, since a forward expects one.
    batches = x[None] if routing_weights.shape[0] == 1 else x[:, None]

    def of_weights(merged: dict[str, Tensor], tokens: Tensor) -> Tensor:
        out: Tensor = functional_call(module, merged, (tokens, *args), kwargs)
        return out

    def run(routing_weights: Tensor, batches: Tensor) -> Tensor:
        mixtures = dictionary.mix(routing_weights)
        merged = {name: weights[name] + mixture for name, mixture in mixtures.items()}
        return vmap(of_weights, randomness="different")(merged, batches)

    most = max(1, most_bytes // sum(weight.nbytes for weight in weights.values()))
    # A traced program has to work for batches of any size.
    if torch.compiler.is_compiling() or x.is_meta or len(batches) <= most:
        return run(routing_weights, batches).flatten(0, 1)
    chunks = zip(routing_weights.split(most), batches.split(most), strict=True)
    outputs = [checkpoint(run, r, part, use_reentrant=False) for r, part in chunks]
    return torch.cat(outputs).flatten(0, 1)
