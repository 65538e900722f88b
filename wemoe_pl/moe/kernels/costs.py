"""What each way to compute a merged MLP costs, so that the cheapest is taken.

The unit is a multiply-add of a large matrix product. What runs slower counts for more, as
`wemoe-pl bench` measures on a CPU; it also tells where what is chosen is not the fastest.
"""

from dataclasses import dataclass

from wemoe_pl.moe.kernels.two_layers import TwoLayers

BATCHED = 1.25  # a multiply-add of a product that every sample does with weights of its own
MERGING = 3.3  # of the product with only T columns that merges weights
READING = 20.0  # a number of the dictionary, which comes from memory once per pass


@dataclass(frozen=True)
class Load:
    """What is to be computed.

    Attributes:
        samples: B.
        tokens: N.
        learning: is there a backward pass, to the tokens and to the routing weights?
    """

    samples: int
    tokens: int
    learning: bool


def weight_space_cost(mlp: TwoLayers, load: Load) -> float:
    """Merge weights for every sample, then use them: B·T·P and B·N·P (`tiled_mlp`).

    The backward pass does both twice: it merges once more and contracts with the dictionary, and
    has a product for the tokens and one for the weights.
    """
    layers = (mlp.first, mlp.second)
    experts = mlp.first.vectors.count
    products = load.samples * (load.tokens * BATCHED + experts * MERGING)
    per_weight = products * (3 if load.learning else 1)
    reading = sum(layer.weight.numel() * experts * READING for layer in layers)
    reading += sum(layer.vectors.unpack_cost for layer in layers)
    weights = sum(layer.weight.numel() for layer in layers)
    return per_weight * weights + reading * (2 if load.learning else 1)


def activation_space_cost(mlp: TwoLayers, load: Load) -> float:
    """Apply W0 and the task vectors to every token: B·N·P·(T + 1) if dense (`activation_mlp`).

    The backward pass needs the products for the tokens only.
    """
    layers = (mlp.first, mlp.second)
    applying = sum(layer.weight.numel() + layer.vectors.apply_cost for layer in layers)
    reading = sum(layer.vectors.numbers * READING for layer in layers)
    per_pass = load.samples * load.tokens * applying + reading
    return per_pass * (2 if load.learning else 1)
