"""TIES: trim, elect a sign, and take the mean of those who agree (arXiv 2306.01708)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wemoe_pl.merging.base import MergeMethod, checked_states, frozen_copy
from wemoe_pl.moe.scaling import DEFAULT_SCALING, check_scaling
from wemoe_pl.moe.task_vectors import Model, add_task_vectors, check_keep, lazy_task_vector, trim


@dataclass(frozen=True)
class TIES(MergeMethod):
    """θ0 + λ · disjoint mean of the trimmed task vectors.

    Args:
        scaling: λ, from 0 to 1.
        keep: the share of each task vector's entries that survives trimming.
    """

    is_static = True

    scaling: float = DEFAULT_SCALING
    keep: float = 0.2

    def __post_init__(self) -> None:
        """Refuse values out of range before anything is loaded."""
        check_scaling(self.scaling)
        check_keep(self.keep)

    def merge(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> nn.Module:
        """A frozen encoder; lazy experts are read twice, once to find their thresholds."""
        base = pretrained.state_dict()
        states = checked_states(base, experts)
        vectors = [trim(lazy_task_vector(base, state), self.keep) for state in states]
        means = {key: disjoint_mean(torch.stack([v[key] for v in vectors])) for key in vectors[0]}
        return frozen_copy(pretrained, add_task_vectors(base, [means], self.scaling))


def disjoint_mean(vectors: Tensor) -> Tensor:
    """Per entry, the mean over those vectors that have the elected sign, (T, *shape) → (*shape).

    The sign of the sum is elected. Where the sum is 0 nobody is elected and the mean is 0; an
    entry of 0 agrees with nobody.

    >>> disjoint_mean(torch.tensor([[1.0, 2.0, 0.0], [3.0, -1.0, 1.0], [0.0, -1.0, -1.0]]))
    tensor([2., 0., 0.])
    """
    elected = vectors.sum(dim=0).sign()
    agreeing = (vectors.sign() == elected) & (elected != 0)
    return (vectors * agreeing).sum(dim=0) / agreeing.sum(dim=0).clamp(min=1)
