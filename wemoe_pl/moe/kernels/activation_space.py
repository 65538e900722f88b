"""Activation space: apply W0 and every task vector to the tokens, and weigh what comes out.

(W0 + Σ_i r_i τ_i) x = W0 x + Σ_i r_i (τ_i x): nothing is merged, at the price of T + 1 products
with every token. That pays where tokens are few, or where task vectors are of low rank.
"""

from torch import Tensor
from torch.nn import functional as F

from wemoe_pl.moe.kernels.two_layers import MergedLayer, TwoLayers


def activation_mlp(mlp: TwoLayers, routing_weights: Tensor, x: Tensor) -> Tensor:
    """The two layers: routing weights (B, T) and x (B, N, D) → (B, N, D)."""
    return applied(mlp.second, routing_weights, mlp.act(applied(mlp.first, routing_weights, x)))


def applied(layer: MergedLayer, routing_weights: Tensor, x: Tensor) -> Tensor:
    """One layer: (B, T) and (B, N, n) → (B, N, m)."""
    pretrained = F.linear(x, layer.weight.to(x.dtype))
    bias = layer.merged_bias(routing_weights)[:, None]
    return pretrained + layer.vectors.apply_to(x, routing_weights) + bias
