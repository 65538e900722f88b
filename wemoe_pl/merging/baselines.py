"""Define the two ends of every table: the pretrained encoder, and each expert on its own task."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

from torch import Tensor, nn

from wemoe_pl.merging.base import MergeMethod, fitting_states
from wemoe_pl.moe.task_vectors import Model, state_of


@dataclass(frozen=True)
class Pretrained(MergeMethod):
    """`Pretrained` keeps the pretrained encoder and ignores the experts: the lower end."""

    is_static = True

    def merge(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> nn.Module:
        """Return a frozen copy of the pretrained encoder."""
        return deepcopy(pretrained).requires_grad_(False)


class PerTaskEncoder(nn.Module):
    """A per-task encoder has weights for each task; no other kind has to be told the task.

    It takes the memory of one encoder: the weights of a task are loaded when images of it come.

    Args:
        encoder: an encoder of the experts' architecture; it is taken over, not copied.
        experts: the expert of each task: its encoder, or its weights by name.
        nbytes: the number of bytes stored for all tasks, if that is less than all their weights.
    """

    def __init__(self, encoder: nn.Module, experts: Mapping[str, Model], nbytes: int | None = None):
        super().__init__()
        self.nbytes = nbytes
        self.encoder = encoder
        self.experts = dict(experts)
        self._present: str | None = None

    def forward(self, images: Tensor, task: str) -> Tensor:
        """Encode images (B, 3, H, W) of one task by that task's expert as features (B, D)."""
        return self.become(task)(images)

    def become(self, task: str) -> nn.Module:
        """Return the encoder after loading the weights of a task's expert."""
        if task != self._present:
            self.encoder.load_state_dict(dict(state_of(self.experts[task])))
            self._present = task
        return self.encoder


@dataclass(frozen=True)
class Individual(MergeMethod):
    """`Individual` uses each expert on its own task and merges nothing: the upper end."""

    is_static = True

    def merge(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> nn.Module:
        """Return an encoder that takes the weights of the expert of the task that it is told."""
        states = fitting_states(pretrained.state_dict(), experts)
        return PerTaskEncoder(deepcopy(pretrained).requires_grad_(False), states)
