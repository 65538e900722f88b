"""The forms of MLP that vision transformers have, each beside its own mixture."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

from timm.layers import GluMlp, SwiGLU, SwiGLUPacked
from timm.layers.mlp import Mlp
from torch import Tensor, nn

from wemoe_pl.bench.subjects import SHAPES, BenchRow, Settings, mixture, timed


class OwnActivation(nn.Module):
    """An activation that nobody knows: it might look at whole rows of hidden units."""

    def forward(self, x: Tensor) -> Tensor:
        """(…, H) → (…, H)."""
        return x * (1.702 * x).sigmoid()


class OwnMlp(nn.Module):
    """An MLP of a class that nobody knows.

    Args:
        width: D.
        hidden: H.
    """

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) → (B, N, D)."""
        out: Tensor = self.fc2(nn.functional.gelu(self.fc1(x)))
        return out


def gated(width: int) -> int:
    """Hidden units of a gated MLP of as many weights as a plain one: two thirds of 4 D."""
    return 8 * width // 3


# By the name of a row: the width D → an MLP.
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


def forms(settings: Settings) -> Iterator[BenchRow]:
    """Every form of MLP: the mixture beside the plain one of the same form."""
    wanted = product(settings.shapes, settings.experts, settings.depths, settings.samples)
    for name, experts, depth, samples in wanted:
        shape = SHAPES[name]
        x = settings.batch(samples, shape.tokens, shape.width)
        about = {"shape": name, "samples": samples, "experts": experts, "depth": depth}
        for form, make in FORMS.items():
            build = partial(make, shape.width)
            plain, _, moe = mixture(shape, experts, depth, settings, build)
            yield from timed({"plain": plain, "WEMoE": moe}, x, settings, about | {"form": form})
