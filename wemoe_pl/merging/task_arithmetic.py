"""Compute θ0 + λ Σ τ_i: task arithmetic (arXiv 2212.04089)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from wemoe_pl.checkpoints import State
from wemoe_pl.merging.base import MergeMethod, checked_states, frozen_copy
from wemoe_pl.moe.scaling import DEFAULT_SCALING, check_scaling
from wemoe_pl.moe.task_vectors import Model, add_task_vectors, lazy_task_vector


@dataclass(frozen=True)
class TaskArithmetic(MergeMethod):
    """Task arithmetic adds the scaled sum of all task vectors to the pretrained weights.

    Args:
        scaling: λ, the scaling coefficient, from 0 to 1.
    """

    is_static = True

    scaling: float = DEFAULT_SCALING

    def __post_init__(self) -> None:
        """Refuse a λ out of range before anything is loaded."""
        check_scaling(self.scaling)

    def merge(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> nn.Module:
        """Return a frozen encoder with the weights θ0 + λ Σ τ_i."""
        base = pretrained.state_dict()
        states = checked_states(base, experts)
        return frozen_copy(pretrained, add_experts(base, states, self.scaling))


def add_experts(base: State, experts: Iterable[State], scaling: float) -> dict[str, Tensor]:
    """Return θ0 + λ Σ (θ_i − θ0) for the tensors of `base`; experts may have more tensors."""
    vectors = (lazy_task_vector(base, expert) for expert in experts)
    return add_task_vectors(base, vectors, scaling)
