"""Experts that add nothing, or come from another pretrained model, are warned of."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from wemoe_pl.checkpoints import LazyState, State, shapes_of
from wemoe_pl.system.warn import warn_once

# An expert lies near the model that it was fine-tuned from; two independent ones differ by 1.4.
FAR = 0.5


class MeasuredState(LazyState):
    """The weights of an expert, measured against the pretrained ones as they are read.

    Nothing is read for it that nobody asked for, and every tensor is measured once.

    Args:
        expert: its weights, which may be read lazily.
        pretrained: those of the same keys that it was fine-tuned from.
        report: is called with the distance, once, when all of it is known.
    """

    def __init__(self, expert: State, pretrained: State, report: Callable[[float], None]):
        super().__init__(shapes_of(expert), self._measured)
        self._expert, self._pretrained, self._report = expert, pretrained, report
        self._unmeasured = set(shapes_of(pretrained))
        # Numbers and not tensors: small ones that stay, in the place of large ones that went, make
        # the next large one take new memory.
        self._apart: list[float] = []
        self._sizes: list[float] = []

    def _measured(self, key: str) -> Tensor:
        tensor = self._expert[key]
        if key in self._unmeasured:
            self._unmeasured.remove(key)
            self._measure(tensor, self._pretrained[key])
            if not self._unmeasured and self._sizes:
                self._pretrained = {}  # which need not stay in memory as long as the expert
                self._report(math.hypot(*self._apart) / (math.hypot(*self._sizes) or 1.0))
        return tensor

    def _measure(self, tensor: Tensor, before: Tensor) -> None:
        if before.is_floating_point() and not before.is_meta:
            before = before.float()
            self._apart.append(torch.dist(tensor.to(before), before).item())
            self._sizes.append(torch.linalg.vector_norm(before).item())


def measured(task: str, expert: State, pretrained: State) -> MeasuredState:
    """The weights of a task's expert; it is warned of if they are odd, when they have been read."""
    return MeasuredState(expert, pretrained, partial(warn_if_odd, f"Expert '{task}'"))


def warn_if_odd(name: str, distance: float) -> None:
    """Warn of an expert that adds nothing, or comes from another pretrained model."""
    if sentence := remark(name, distance):
        warn_once(sentence)  # a job merges the same experts by several methods


def remark(name: str, distance: float) -> str:
    """The sentence about an expert that is odd; empty for any other.

    Args:
        name: of the expert, as the sentence begins.
        distance: ‖θ − θ₀‖ ÷ ‖θ₀‖ from the pretrained encoder.

    >>> remark("It", 1.4)
    'It differs from the pretrained encoder by 140% of its norm: was it fine-tuned from that one?'
    """
    if distance == 0:
        return f"{name} is the pretrained encoder itself, and adds nothing to it."
    if distance > FAR:
        apart = f"{name} differs from the pretrained encoder by {distance:.0%} of its norm"
        return f"{apart}: was it fine-tuned from that one?"
    return ""
