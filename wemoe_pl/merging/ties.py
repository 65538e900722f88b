"""TIES: trim, elect a sign, and take the mean of those who agree (arXiv 2306.01708)."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wemoe_pl.merging.base import MergeMethod, checked_states
from wemoe_pl.moe.layers import check_init_lambda
from wemoe_pl.moe.task_vectors import Model, add_task_vectors, check_keep, lazy_task_vector, trim


@dataclass(frozen=True)
class TIES(MergeMethod):
    """θ0 + λ · disjoint mean of the trimmed task vectors.

    Args:
        scaling: λ, from 0 to 1.
        keep: the share of each task vector's entries that survives trimming.
    """

    is_static = True

    scaling: float = 0.3
    keep: float = 0.2

    def __post_init__(self) -> None:
        """Refuse values out of range before anything is loaded."""
        check_init_lambda(self.scaling)
        check_keep(self.keep)

    @property
    def start_lambda(self) -> float:
        """Its own λ."""
        return self.scaling

    def merge(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> nn.Module:
        """A frozen encoder; lazy experts are read twice, once to find their thresholds."""
        base = pretrained.state_dict()
        vectors = [
            trim(lazy_task_vector(base, state), self.keep)
            for state in checked_states(base, experts)
        ]
        means = {
            key: disjoint_mean(torch.stack([vector[key] for vector in vectors]))
            for key in vectors[0]
        }
        merged = deepcopy(pretrained)
        merged.load_state_dict(add_task_vectors(base, [means], self.scaling))
        return merged.requires_grad_(False)


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
