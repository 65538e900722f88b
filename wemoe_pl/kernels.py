"""The batched merged-MLP operation: every sample runs through weights of its own.

This is the only file that knows how it is computed. `moe.py` sees one function.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap


def merged_mlp(
    mlp: nn.Module, task_vectors: Mapping[str, Tensor], routing_weights: Tensor, x: Tensor
) -> Tensor:
    """Run sample b through `mlp` with the weights W0 + Σ_i r_bi τ_i, biases alike (paper §3.2).

    Weights are merged for the whole batch in one matrix product per parameter; the MLP's own
    `forward` is then mapped over samples, so any activation, norm or gate inside it is kept.

    Args:
        mlp: the pretrained MLP, whose parameters are W0; it is not modified.
        task_vectors: per parameter of `mlp`, the T stacked task vectors, (T, *shape).
        routing_weights: (B, T).
        x: (B, N, D) tokens or (B, D) features.

    Returns:
        The output of the MLP, of the shape that `mlp` gives `x`.
    """
    merged = {
        name: weight + torch.tensordot(routing_weights.to(weight.dtype), task_vectors[name], dims=1)
        for name, weight in mlp.named_parameters()
    }

    def run_sample(weights: dict[str, Tensor], tokens: Tensor) -> Tensor:
        return functional_call(mlp, weights, (tokens,))

    return vmap(run_sample, randomness="different")(merged, x)
