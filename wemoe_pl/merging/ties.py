"""Trim task vectors, elect a sign, and combine those that agree: TIES (arXiv 2306.01708)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.base import MergeMethod, checked_states, frozen_copy
from wemoe_pl.moe.scaling import DEFAULT_SCALING, check_scaling
from wemoe_pl.moe.task_vectors import Model, add_task_vectors, check_keep, lazy_task_vector, trim


@dataclass(frozen=True)
class TIES(MergeMethod):
    """TIES gives θ0 + λ · the disjoint mean, or the disjoint sum, of the trimmed task vectors.

    Args:
        scaling: λ, the scaling coefficient, from 0 to 1.
        keep: the share of each task vector's entries that survives trimming.
        combine: the way to combine entries that agree: their "mean", as in the paper, or their
            "sum", as in the published tables with λ = 0.3.
    """

    is_static = True

    scaling: float = DEFAULT_SCALING
    keep: float = 0.2
    combine: Literal["mean", "sum"] = "mean"

    def __post_init__(self) -> None:
        """Refuse values out of range before anything is loaded."""
        check_scaling(self.scaling)
        check_keep(self.keep)
        if self.combine not in ("mean", "sum"):
            raise MergeError(f"combine is {self.combine}: give mean or sum.")

    def merge(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> nn.Module:
        """Return a frozen encoder; lazy experts are read twice, once to find their thresholds."""
        base = pretrained.state_dict()
        states = checked_states(base, experts)
        vectors = [trim(lazy_task_vector(base, state), self.keep) for state in states]
        combine = disjoint_mean if self.combine == "mean" else disjoint_sum
        combined = {key: combine(torch.stack([v[key] for v in vectors])) for key in vectors[0]}
        return frozen_copy(pretrained, add_task_vectors(base, [combined], self.scaling))


def disjoint_mean(vectors: Tensor) -> Tensor:
    """Return, per entry, the mean over vectors of the elected sign, (T, *shape) → (*shape).

    >>> disjoint_mean(torch.tensor([[1.0, 2.0, 0.0], [3.0, -1.0, 1.0], [0.0, -1.0, -1.0]]))
    tensor([2., 0., 0.])
    """
    return disjoint_sum(vectors) / agreeing(vectors).sum(dim=0).clamp(min=1)


def disjoint_sum(vectors: Tensor) -> Tensor:
    """Return, per entry, the sum over vectors of the elected sign, (T, *shape) → (*shape).

    >>> disjoint_sum(torch.tensor([[1.0, 2.0, 0.0], [3.0, -1.0, 1.0], [0.0, -1.0, -1.0]]))
    tensor([4., 0., 0.])
    """
    return (vectors * agreeing(vectors)).sum(dim=0)


def agreeing(vectors: Tensor) -> Tensor:
    """Return which entries have the elected sign, (T, *shape) → (T, *shape).

    The sign of the sum is elected. If the sum is 0, no sign is elected and no entry agrees. An
    entry of 0 never agrees.
    """
    elected = vectors.sum(dim=0).sign()
    return (vectors.sign() == elected) & (elected != 0)
