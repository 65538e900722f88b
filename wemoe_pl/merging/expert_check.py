"""Warn of experts that add nothing, or come from another pretrained model."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from wemoe_pl.checkpoints import LazyState, State, factors_of, shapes_of
from wemoe_pl.system.warn import warn_once

# Experts lie near the model that they were fine-tuned from. Two independent models have a relative
# distance of 1.4.
FAR = 0.5


class MeasuredState(LazyState):
    """A measured state compares an expert's weights with the pretrained ones as they are read.

    It reads no tensor that nobody asked for, and measures every tensor once.

    Args:
        expert: the expert's weights, which may be read lazily.
        pretrained: the weights that it was fine-tuned from, by the same keys.
        report: the function that is called once, with the distance, when all tensors were measured.
    """

    def __init__(self, expert: State, pretrained: State, report: Callable[[float], None]):
        super().__init__(shapes_of(expert), self._measured, partial(factors_of, expert))
        self._expert, self._pretrained, self._report = expert, pretrained, report
        self._unmeasured = set(shapes_of(pretrained))
        # Numbers instead of tensors: a small tensor that stays where a large one was freed leaves
        # too little room for the next large one, which then takes new memory.
        self._apart: list[float] = []
        self._sizes: list[float] = []

    def _measured(self, key: str) -> Tensor:
        tensor = self._expert[key]
        if key in self._unmeasured:
            self._unmeasured.remove(key)
            self._measure(tensor, self._pretrained[key])
            if not self._unmeasured and self._sizes:
                self._pretrained = {}  # frees the pretrained weights, which the expert may outlive
                self._report(math.hypot(*self._apart) / (math.hypot(*self._sizes) or 1.0))
        return tensor

    def _measure(self, tensor: Tensor, before: Tensor) -> None:
        if before.is_floating_point() and not before.is_meta:
            before = before.float()
            self._apart.append(torch.dist(tensor.to(before), before).item())
            self._sizes.append(torch.linalg.vector_norm(before).item())


def measured(task: str, expert: State, pretrained: State) -> MeasuredState:
    """Return weights of a task's expert that give a warning, once all are read, if they are odd."""
    return MeasuredState(expert, pretrained, partial(warn_if_odd, f"Expert '{task}'"))


def warn_if_odd(name: str, distance: float) -> None:
    """Warn of an expert that adds nothing, or comes from another pretrained model."""
    if sentence := remark(name, distance):
        warn_once(sentence)  # a job merges the same experts by several methods


def remark(name: str, distance: float) -> str:
    """Return a sentence about an expert that is odd, or an empty text for any other.

    Args:
        name: the name of the expert, with which the sentence begins.
        distance: the distance from the pretrained encoder, ‖θ − θ₀‖ ÷ ‖θ₀‖.

    >>> remark("It", 1.4)
    'It differs from the pretrained encoder by 140% of its norm: was it fine-tuned from that one?'
    """
    if distance == 0:
        return f"{name} is the pretrained encoder itself, and adds nothing to it."
    if distance > FAR:
        apart = f"{name} differs from the pretrained encoder by {distance:.0%} of its norm"
        return f"{apart}: was it fine-tuned from that one?"
    return ""
