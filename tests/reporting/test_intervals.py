"""Intervals of accuracies, beside how often they hold when images are drawn."""

import math

import numpy as np
import pytest

from wemoe_pl.reporting.intervals import interval_of, interval_of_mean


@pytest.mark.parametrize("images", [20, 400, 2000])
@pytest.mark.parametrize("accuracy", [0.0, 0.5, 0.97, 1.0])
def test_an_interval_ends_where_the_accuracy_is_just_as_likely(
    accuracy: float, images: int
) -> None:
    for end in interval_of(accuracy, images):
        assert -1e-12 <= end <= 1 + 1e-12
        distance = abs(accuracy - end)
        expected = 1.959964 * math.sqrt(max(0.0, end * (1 - end)) / images)
        assert distance == pytest.approx(expected, abs=1e-9)


def test_the_interval_of_a_mean_holds_in_95_of_100_cases() -> None:
    true, images = {"cars": 0.92, "dtd": 0.78, "mnist": 0.99}, dict.fromkeys(("cars", "dtd"), 400)
    images |= {"mnist": 2000}
    rng, mean, held, cases = np.random.default_rng(0), sum(true.values()) / 3, 0, 4000
    for _ in range(cases):
        measured = {t: rng.binomial(images[t], p) / images[t] for t, p in true.items()}
        low, high = interval_of_mean(measured, images)
        held += low <= mean <= high
    assert 0.94 < held / cases < 0.96


def test_the_interval_of_one_task_is_its_own() -> None:
    one = interval_of_mean({"dtd": 0.8}, {"dtd": 400})
    assert one == pytest.approx(interval_of(0.8, 400))
