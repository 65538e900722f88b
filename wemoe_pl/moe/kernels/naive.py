"""Define the plain forms of the kernels, slow and in a few lines each, for comparison."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F


def naive_mlp(
    mlp: nn.Module, task_vectors: Mapping[str, Tensor], routing_weights: Tensor, x: Tensor
) -> Tensor:
    """Run the MLP sample by sample, with weights that are summed up expert by expert.

    Args:
        mlp: the pretrained MLP.
        task_vectors: the task vectors of each of its parameters, (T, *shape).
        routing_weights: the routing weights, (B, T).
        x: the input, (B, …, D).
    """
    outputs = []
    for shares, sample in zip(routing_weights, x, strict=True):
        weights: dict[str, Tensor] = dict(mlp.named_parameters())
        for i, share in enumerate(shares):
            weights = {name: w + share * task_vectors[name][i] for name, w in weights.items()}
        outputs.append(functional_call(mlp, weights, (sample[None],)))  # a batch of one
    return torch.cat(outputs)


def naive_linear(
    x: Tensor, weight: Tensor, task_vectors: Tensor, routing_weights: Tensor
) -> Tensor:
    """Map (B, N, K), (M, K), (T, M, K) and (B, T) → x_b W_bᵀ, (B, N, M)."""
    merged = weight + torch.einsum("bt,tmk->bmk", routing_weights, task_vectors)
    return torch.einsum("bnk,bmk->bnm", x, merged)


def naive_hidden_mean(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Map (B, N, D), (H, D) and (H,) → the mean of relu(x Wᵀ + b) over tokens, (B, H)."""
    return F.linear(x, weight, bias).relu_().mean(dim=1)
