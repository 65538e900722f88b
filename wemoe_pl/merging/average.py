"""Simple averaging: the mean of the experts (arXiv 2203.05482)."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from wemoe_pl.merging.base import MergeMethod, check_experts
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.moe.task_vectors import Model


@dataclass(frozen=True)
class SimpleAverage(MergeMethod):
    """The mean of the experts' weights, which is task arithmetic with λ = 1/T."""

    is_static = True

    def merge(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> nn.Module:
        """A frozen encoder with the mean weights; integer tensors are the pretrained one's."""
        check_experts(experts)
        return TaskArithmetic(1 / len(experts)).merge(pretrained, experts)
