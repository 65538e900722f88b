"""Time mixtures of all forms of MLP and of dictionary, each next to the plain MLP of that form."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import torch
from timm.layers import GluMlp, SwiGLU, SwiGLUPacked
from timm.layers.mlp import Mlp
from torch import Tensor, nn

from wemoe_pl.bench.rivals import Layer
from wemoe_pl.bench.subjects import SHAPES, BenchRow, Settings, mixture, timed
from wemoe_pl.moe.compression import Compression
from wemoe_pl.moe.dense import DENSE, Dense
from wemoe_pl.moe.kernels import merged_mlp
from wemoe_pl.moe.layers import WeightEnsemblingMoE
from wemoe_pl.moe.low_rank import LowRank
from wemoe_pl.moe.quantised import Quantised


class OwnActivation(nn.Module):
    """An `OwnActivation` is unknown to the kernels: it might look at whole rows of hidden units."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, H) → (…, H)."""
        return x * (1.702 * x).sigmoid()


class OwnMlp(nn.Module):
    """An `OwnMlp` is an MLP of a class that is unknown to the kernels.

    Args:
        width: D, the width of the tokens.
        hidden: H, the number of hidden units.
    """

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, N, D) → (B, N, D)."""
        out: Tensor = self.fc2(nn.functional.gelu(self.fc1(x)))
        return out


def gated(width: int) -> int:
    """Return the hidden units of a gated MLP with the weights of a plain one: two thirds of 4 D."""
    return 8 * width // 3


# The functions from the width D to an MLP, by the name of the row.
FORMS: dict[str, Callable[[int], nn.Module]] = {
    "Mlp": lambda d: Mlp(d, 4 * d),
    "Mlp, unknown activation": lambda d: Mlp(d, 4 * d, act_layer=OwnActivation),
    "Mlp, norm": lambda d: Mlp(d, 4 * d, norm_layer=nn.LayerNorm),
    "GluMlp": lambda d: GluMlp(d, 2 * gated(d)),
    "SwiGLUPacked (DINOv2 giant)": lambda d: SwiGLUPacked(d, 2 * gated(d)),
    "SwiGLU": lambda d: SwiGLU(d, gated(d)),
    "SwiGLU, norm (EVA-02)": lambda d: SwiGLU(d, gated(d), norm_layer=nn.LayerNorm),
    "class of one's own": lambda d: OwnMlp(d, 4 * d),
}

# The stored forms of the dictionary of a plain `Mlp`, by the name of the row.
DICTIONARIES: dict[str, Compression] = {
    "Mlp, bfloat16 dictionary": Dense("bfloat16"),
    "Mlp, int8 dictionary": Quantised(),
    "Mlp, low rank 16": LowRank(rank=16),
    "Mlp, low rank 32": LowRank(rank=32),
}


BY_EXPERT = "Mlp, one expert each"  # its samples share as many routings as there are experts


def routed_to_one_expert_each(moe: WeightEnsemblingMoE) -> Layer:
    """Return a mixture without its router, which sends samples to one expert each, in turn."""
    experts = moe.num_experts
    one_each = torch.eye(experts)

    def run(x: Tensor) -> Tensor:
        routing_weights = one_each[torch.arange(len(x)) % experts].to(x)
        return merged_mlp(moe.mlp, moe.task_vectors, routing_weights, x)

    return run


def forms(settings: Settings) -> Iterator[BenchRow]:
    """Time the mixture and the plain MLP, for every form of MLP and of dictionary.

    In the last row samples share routings. Only its forward pass shares merged weights: with
    gradients, weights are merged sample by sample.
    """
    dense = {form: (make, DENSE) for form, make in FORMS.items()}
    others = {form: (FORMS["Mlp"], compression) for form, compression in DICTIONARIES.items()}
    wanted = product(settings.shapes, settings.experts, settings.depths, settings.samples)
    for name, experts, depth, samples in wanted:
        shape = SHAPES[name]
        x = settings.batch(samples, shape.tokens, shape.width)
        about = {"shape": name, "samples": samples, "experts": experts, "depth": depth}
        for form, (make, compression) in (*dense.items(), *others.items()):
            build = partial(make, shape.width)
            plain, _, moe = mixture(shape, experts, depth, settings, build, compression)
            yield from timed({"plain": plain, "WEMoE": moe}, x, settings, about | {"form": form})
        plain, _, moe = mixture(shape, experts, 0, settings)
        runs: dict[str, Layer] = {"plain": plain, "WEMoE": routed_to_one_expert_each(moe)}
        yield from timed(runs, x, settings, about | {"form": BY_EXPERT})
