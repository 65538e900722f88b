"""Scale a merged task vector more in deep blocks than in shallow ones: LiNeS (arXiv 2410.17146)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from wemoe_pl.checkpoints import LazyState, State, shapes_of
from wemoe_pl.errors import MergeError
from wemoe_pl.merging.base import blocks_of
from wemoe_pl.merging.wrapper import Wrapper


@dataclass(frozen=True)
class LiNeS(Wrapper):
    """LiNeS scales a merged task vector by a + β · l / (L − 1) in block l of L, else by a (§4).

    Its authors wrap methods whose scaling coefficient is 1.

    Args:
        beta: β, the scale of the last block less that of the first; its authors choose it on
            labelled validation images, for every suite anew.
        alpha: a, the least scale; by default ‖Σ τ_i‖₁ / ‖τ_merged‖₁ / T, which for task arithmetic
            is 1 / T.
    """

    beta: float = 0.5
    alpha: float | None = None

    def __post_init__(self) -> None:
        """Refuse values out of range before anything is loaded."""
        super().__post_init__()
        for name, value in (("beta", self.beta), ("alpha", self.alpha)):
            if value is not None and not 0.0 <= value < float("inf"):
                raise MergeError(f"{name} of LiNeS is {value}: choose a number from 0.")

    def change(self, merged: State, vectors: Sequence[State], pretrained: nn.Module) -> State:
        """Scale the merged task vector tensor by tensor."""
        start = least_scaling(merged, vectors) if self.alpha is None else self.alpha
        last = max(1, len(blocks_of(pretrained)) - 1)

        def scaled(key: str) -> float:
            block = re.match(r"blocks\.(\d+)\.", key)
            return start + self.beta * int(block[1]) / last if block else start

        return LazyState(shapes_of(merged), lambda key: scaled(key) * merged[key])


def least_scaling(merged: State, vectors: Sequence[State]) -> float:
    """Return ‖Σ τ_i‖₁ / ‖τ_merged‖₁ / T, or 0 for a merged task vector of 0, which stays 0."""
    size = sum(merged[key].abs().sum().item() for key in merged)
    sums = (torch.stack([vector[key] for vector in vectors]).sum(dim=0) for key in merged)
    total = sum(summed.abs().sum().item() for summed in sums)
    return total / size / len(vectors) if size else 0.0
