"""Simple averaging: the mean of the experts (arXiv 2203.05482)."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from wemoe_pl.merging.base import MergeMethod, checked_states, frozen_copy
from wemoe_pl.merging.task_arithmetic import add_experts
from wemoe_pl.moe.task_vectors import Model


@dataclass(frozen=True)
class SimpleAverage(MergeMethod):
    """The mean of the experts' weights, which is task arithmetic with λ = 1/T."""

    is_static = True

    def merge(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> nn.Module:
        """A frozen encoder with the mean weights; integer tensors are the pretrained one's."""
        base = pretrained.state_dict()
        states = checked_states(base, experts)
        return frozen_copy(pretrained, add_experts(base, states, 1 / len(states)))
