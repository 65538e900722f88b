"""The two ends of every table: the pretrained encoder alone, and each expert on its own task."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

from torch import Tensor, nn

from wemoe_pl.merging.base import MergeMethod, fitting_states
from wemoe_pl.moe.task_vectors import Model, state_of


@dataclass(frozen=True)
class Pretrained(MergeMethod):
    """The pretrained encoder, experts ignored: the lower end."""

    is_static = True

    def merge(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> nn.Module:
        """A frozen copy of the pretrained encoder."""
        return deepcopy(pretrained).requires_grad_(False)


class PerTaskEncoder(nn.Module):
    """One encoder per task; the only kind of encoder that has to be told the task.

    It takes the memory of one: the weights of a task are put in place when images of it come.

    Args:
        encoder: of the experts' architecture; it is taken over, not copied.
        experts: per task, its encoder or the weights of it by name.
        nbytes: how many bytes are stored for all tasks, where that is less than all their weights.
    """

    def __init__(self, encoder: nn.Module, experts: Mapping[str, Model], nbytes: int | None = None):
        super().__init__()
        self.nbytes = nbytes
        self.encoder = encoder
        self.experts = dict(experts)
        self._present: str | None = None

    def forward(self, images: Tensor, task: str) -> Tensor:
        """Images (B, 3, H, W) of one task → features (B, D) by that task's expert."""
        return self.become(task)(images)

    def become(self, task: str) -> nn.Module:
        """The encoder, with the weights of a task's expert."""
        if task != self._present:
            self.encoder.load_state_dict(dict(state_of(self.experts[task])))
            self._present = task
        return self.encoder


@dataclass(frozen=True)
class Individual(MergeMethod):
    """Each expert on its own task, nothing merged: the upper end."""

    is_static = True

    def merge(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> nn.Module:
        """An encoder that becomes the expert of the task that it is told."""
        states = fitting_states(pretrained.state_dict(), experts)
        return PerTaskEncoder(deepcopy(pretrained).requires_grad_(False), states)
