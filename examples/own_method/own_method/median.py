"""A merge method: the median of the task vectors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from wemoe_pl import MergeMethod
from wemoe_pl.merging.base import checked_states, frozen_copy
from wemoe_pl.moe.task_vectors import Model


@dataclass(frozen=True)
class Median(MergeMethod):
    """Add the median of the task vectors to the pretrained weights, entry by entry.

    Args:
        scaling: what it is multiplied by, beside the number of experts.
    """

    scaling: float = 0.3
    is_static: ClassVar[bool] = True  # there is nothing in it to adapt

    def merge(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> nn.Module:
        """Return an encoder like the pretrained one, with other weights."""
        base = pretrained.state_dict()
        states = checked_states(base, experts)  # MergeError if an expert does not fit
        factor = self.scaling * len(states)
        merged = {}
        for key, weight in base.items():
            vectors = torch.stack([state[key] - weight for state in states])
            # torch's median of an even number is the lower of the two in the middle.
            middle = (vectors.median(dim=0).values - (-vectors).median(dim=0).values) / 2
            merged[key] = weight + factor * middle
        return frozen_copy(pretrained, merged)
