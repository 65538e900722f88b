"""Distillation and matched features against loops in plain Python, and their gradients."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from wemoe_pl.errors import ConfigError
from wemoe_pl.training.objectives.base import needs_of
from wemoe_pl.training.objectives.distillation import Distillation, FeatureMatching
from wemoe_pl.training.objectives.outputs import AdaptationOutputs

ROWS, CLASSES = 7, 5


def drawn(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return 3 * torch.randn(*shape, generator=generator, dtype=torch.float64)


def probabilities(row: list[float], temperature: float) -> list[float]:
    powers = [math.exp(x / temperature) for x in row]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 20.0])
def test_the_divergence_and_its_gradient_are_those_written_out(temperature: float) -> None:
    logits, expert_logits = drawn(2, ROWS, CLASSES)
    logits = logits.clone().requires_grad_()
    outputs = AdaptationOutputs("mnist", logits, {"expert_logits": expert_logits})
    found = Distillation(temperature)(outputs)
    found.backward()
    total, gradients = 0.0, []
    for ours, theirs in zip(logits.tolist(), expert_logits.tolist(), strict=True):
        p, q = probabilities(theirs, temperature), probabilities(ours, temperature)
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        gradients.append([temperature * (b - a) / ROWS for a, b in zip(p, q, strict=True)])
    assert found.item() == pytest.approx(temperature**2 * total / ROWS, rel=1e-12)
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.tensor(gradients, dtype=torch.float64))


def test_nothing_is_left_to_learn_where_both_answer_alike() -> None:
    logits = drawn(ROWS, CLASSES).requires_grad_()
    outputs = AdaptationOutputs("mnist", logits, {"expert_logits": logits.detach() + 4})
    assert Distillation()(outputs).item() == pytest.approx(0, abs=1e-12)


def test_a_divergence_of_certain_predictions_is_finite() -> None:
    logits = (torch.eye(3) * 1e4).requires_grad_()
    outputs = AdaptationOutputs("mnist", logits, {"expert_logits": torch.eye(3).roll(1, 0) * 1e4})
    found = Distillation(1.0)(outputs)
    found.backward()
    assert found.item() == pytest.approx(1e4)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("temperature", [0, -1.0, math.nan, math.inf])
def test_a_temperature_out_of_range_is_refused(temperature: float) -> None:
    with pytest.raises(ConfigError, match=r"^temperature is .*: give a number above 0\.$"):
        Distillation(temperature)


def l1(x: float) -> float:
    return abs(x)


def smooth_l1(x: float) -> float:
    return x * x / 2 if abs(x) < 1 else abs(x) - 0.5


@pytest.mark.parametrize(("distance", "written"), [("l1", l1), ("smooth_l1", smooth_l1)])
def test_the_distance_of_features_is_that_written_out(distance: Any, written: Any) -> None:
    features, theirs = drawn(2, ROWS, 4)
    features = features.clone().requires_grad_()
    needed: Any = {"features": features, "expert_features": theirs}
    found = FeatureMatching(distance)(AdaptationOutputs("dtd", torch.zeros(ROWS, 2), needed))
    differences = [
        a - b
        for row, other in zip(features.tolist(), theirs.tolist(), strict=True)
        for a, b in zip(row, other, strict=True)
    ]
    assert found.item() == pytest.approx(
        sum(map(written, differences)) / len(differences), rel=1e-12
    )
    assert torch.autograd.grad(found, features)[0].any()
    assert needs_of(FeatureMatching(distance)) == {"features", "expert_features"}


def test_a_distance_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^distance is 'l2': choose l1 or smooth_l1\.$"):
        FeatureMatching("l2")  # type: ignore[arg-type]
