"""Take the mean of the experts: simple averaging (arXiv 2203.05482)."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from wemoe_pl.merging.base import MergeMethod, check_experts
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.moe.task_vectors import Model


@dataclass(frozen=True)
class SimpleAverage(MergeMethod):
    """Simple averaging takes the mean of the experts' weights: task arithmetic with λ = 1/T."""

    is_static = True

    def merge(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> nn.Module:
        """Return a frozen encoder with the mean weights; integer tensors stay as pretrained."""
        check_experts(experts)
        return TaskArithmetic(1 / len(experts)).merge(pretrained, experts)
