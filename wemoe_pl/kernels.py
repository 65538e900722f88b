"""The batched merged-MLP operation: every sample runs through weights of its own.

This is the only file that knows how it is computed. `moe.py` sees one function.
"""

from torch import Tensor, nn
from torch.func import functional_call, vmap

from wemoe_pl.dictionaries import Dictionary


def merged_mlp(
    mlp: nn.Module, dictionary: Dictionary, routing_weights: Tensor, x: Tensor
) -> Tensor:
    """Run sample b through `mlp` with the weights W0 + Σ_i r_bi τ_i, biases alike (paper §3.2).

    Weights are merged for the whole batch at once; the MLP's own `forward` is then mapped over
    samples, so any activation, norm or gate inside it is kept.

    Args:
        mlp: the pretrained MLP, whose parameters are W0; it is not modified.
        dictionary: the T task vectors of each of its parameters.
        routing_weights: (B, T).
        x: (B, …, D): B samples of tokens or features. Whatever lies in between shares weights.

    Returns:
        The output of the MLP, of the shape that `mlp` gives `x`.
    """
    weights = dict(mlp.named_parameters())
    routing_weights = routing_weights.to(next(iter(weights.values())).dtype)
    mixtures = dictionary.mix(routing_weights)
    merged = {name: weights[name] + mixture for name, mixture in mixtures.items()}

    def run_sample(weights: dict[str, Tensor], tokens: Tensor) -> Tensor:
        return functional_call(mlp, weights, (tokens,))

    return vmap(run_sample, randomness="different")(merged, x)
