"""Task arithmetic: θ0 + λ Σ τ_i (arXiv 2212.04089)."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

from torch import nn

from wemoe_pl.merging.base import MergeMethod, check_experts
from wemoe_pl.moe import check_init_lambda
from wemoe_pl.task_vectors import add_task_vectors, task_vector


@dataclass(frozen=True)
class TaskArithmetic(MergeMethod):
    """Add the scaled sum of all task vectors to the pretrained weights.

    Args:
        scaling: λ, from 0 to 1.
    """

    scaling: float = 0.3

    def __post_init__(self) -> None:
        """Refuse a λ out of range before anything is loaded."""
        check_init_lambda(self.scaling)

    @property
    def start_lambda(self) -> float:
        """Its own λ."""
        return self.scaling

    def merge(self, pretrained: nn.Module, experts: Mapping[str, nn.Module]) -> nn.Module:
        """A frozen encoder with the weights θ0 + λ Σ τ_i."""
        check_experts(experts)
        base = pretrained.state_dict()
        vectors = (task_vector(base, e.state_dict(), f"Expert '{t}'") for t, e in experts.items())
        merged = deepcopy(pretrained)
        merged.load_state_dict(add_task_vectors(base, vectors, self.scaling))
        return merged.requires_grad_(False)
