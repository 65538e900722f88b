"""Any MLP of timm's form: its own `forward` is mapped over samples, each with merged weights.

So gates, norms and dropout inside it are kept. Merged weights are held for some samples at a time.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils.checkpoint import checkpoint

from wemoe_pl.moe.dictionary import Dictionary

# Of merged weights at a time. Those of all blocks would otherwise wait for the backward pass.
ROOM = 256 * 2**20


def mapped_mlp(
    mlp: nn.Module, dictionary: Dictionary, routing_weights: Tensor, x: Tensor, room: int = ROOM
) -> Tensor:
    """See `merged_mlp`.

    Args:
        mlp: as there.
        dictionary: as there.
        routing_weights: as there.
        x: as there.
        room: bytes of merged weights to hold at a time, at least those of one sample. Where they
            do not suffice for all, weights are merged once more in the backward pass.
    """
    weights = dict(mlp.named_parameters())
    routing_weights = routing_weights.to(next(iter(weights.values())).dtype)

    def run(routing_weights: Tensor, x: Tensor) -> Tensor:
        mixtures = dictionary.mix(routing_weights)
        merged = {name: weights[name] + mixture for name, mixture in mixtures.items()}
        return vmap(run_sample(mlp), randomness="different")(merged, x)

    samples = max(1, room // sum(weight.nbytes for weight in weights.values()))
    # While it is traced, a program has to do for batches of any size.
    if torch.compiler.is_compiling() or x.is_meta or len(x) <= samples:
        return run(routing_weights, x)
    chunks = zip(routing_weights.split(samples), x.split(samples), strict=True)
    return torch.cat([checkpoint(run, r, part, use_reentrant=False) for r, part in chunks])


def run_sample(mlp: nn.Module) -> Callable[[dict[str, Tensor], Tensor], Tensor]:
    """`mlp` as a function of its weights and of what it sees."""
    return lambda weights, tokens: functional_call(mlp, weights, (tokens,))
