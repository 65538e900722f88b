"""The two ends of every table: the pretrained encoder alone, and each expert on its own task."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

from torch import Tensor, nn

from wemoe_pl.merging.base import MergeMethod, check_experts


@dataclass(frozen=True)
class Pretrained(MergeMethod):
    """The pretrained encoder, experts ignored: the lower end."""

    def merge(self, pretrained: nn.Module, experts: Mapping[str, nn.Module]) -> nn.Module:
        """A frozen copy of the pretrained encoder."""
        return deepcopy(pretrained).requires_grad_(False)


class PerTaskEncoder(nn.Module):
    """One encoder per task; the only kind of encoder that has to be told the task."""

    def __init__(self, encoders: Mapping[str, nn.Module]):
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)

    def forward(self, images: Tensor, task: str) -> Tensor:
        """Images (B, 3, H, W) of one task → features (B, D) by that task's expert."""
        features: Tensor = self.encoders[task](images)
        return features


@dataclass(frozen=True)
class Individual(MergeMethod):
    """Each expert on its own task, nothing merged: the upper end."""

    def merge(self, pretrained: nn.Module, experts: Mapping[str, nn.Module]) -> nn.Module:
        """Frozen copies of all experts, chosen by task."""
        check_experts(experts)
        return PerTaskEncoder({t: deepcopy(e).requires_grad_(False) for t, e in experts.items()})
