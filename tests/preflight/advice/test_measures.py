"""Figures of task vectors against slow ones in float64."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor

from wemoe_pl.checkpoints import LazyState
from wemoe_pl.data.suite import Suite
from wemoe_pl.preflight.advice.measures import (
    KEEP,
    TaskVectorFigures,
    conflicts_of,
    measure,
    norms_of,
    reach_of,
)

Figures = Callable[..., TaskVectorFigures]


@pytest.fixture(scope="module")
def vectors(near_suite: Suite) -> dict[str, dict[str, Tensor]]:
    """The task vectors of the suite, tensor by tensor, in float64."""
    base = dict(near_suite.open_pretrained())
    return {
        task: {key: (state[key] - base[key]).double() for key in base}
        for task, state in near_suite.load_experts().items()
    }


@pytest.fixture(scope="module")
def found(near_suite: Suite) -> TaskVectorFigures:
    """What is measured of the suite."""
    return measure(near_suite.open_pretrained(), near_suite.load_experts())


def flat(vector: dict[str, Tensor], part: str = "") -> Tensor:
    """The entries of all tensors whose keys have this part, one behind the other."""
    return torch.cat([tensor.flatten() for key, tensor in vector.items() if part in key])


def test_lengths_cosines_and_ratio_are_those_of_flattened_task_vectors(
    found: TaskVectorFigures, vectors: dict[str, dict[str, Tensor]], near_suite: Suite
) -> None:
    base = flat({key: w.double() for key, w in near_suite.open_pretrained().items()})
    whole = [flat(vector) for vector in vectors.values()]
    lengths = torch.stack([vector.norm() / base.norm() for vector in whole]).numpy()
    assert found.lengths() == pytest.approx(lengths, rel=1e-6)
    assert found.norm_ratio == pytest.approx(lengths.max() / lengths.min(), rel=1e-6)
    pairs = [(a @ b / (a.norm() * b.norm())).item() for a, b in combinations(whole, 2)]
    assert found.mean_cosine == pytest.approx(np.mean(pairs), abs=1e-9)
    assert found.nearest[0] == pytest.approx(max(pairs), abs=1e-9)


def test_lengths_of_a_layer_are_relative_to_its_own_weights(
    found: TaskVectorFigures, vectors: dict[str, dict[str, Tensor]], near_suite: Suite
) -> None:
    base = {key: w.double() for key, w in near_suite.open_pretrained().items()}
    part = "blocks.1.attn"
    expected = [(flat(v, part).norm() / flat(base, part).norm()).item() for v in vectors.values()]
    assert found.lengths(part) == pytest.approx(expected, rel=1e-6)


def test_the_reach_is_that_of_the_sum_of_task_vectors(
    found: TaskVectorFigures, vectors: dict[str, dict[str, Tensor]]
) -> None:
    for count in (2, 3):
        some = [flat(vector) for vector in vectors.values()][:count]
        longest = max(vector.norm() for vector in some)
        expected = 0.3 * sum(some, torch.zeros(())).norm() / longest
        assert found.reach(0.3, count) == pytest.approx(expected.item(), rel=1e-6)
    outside = [
        flat({k: t for k, t in vector.items() if ".mlp." not in k}) for vector in vectors.values()
    ]
    longest = max(vector.norm() for vector in outside)
    expected = 0.3 * sum(outside, torch.zeros(())).norm() / longest
    assert found.reach_outside(0.3) == pytest.approx(expected.item(), rel=1e-6)
    shares = [
        (part.norm() / flat(vector).norm()).item() ** 2
        for part, vector in zip(outside, vectors.values(), strict=True)
    ]
    assert found.share_outside == pytest.approx(np.mean(shares), rel=1e-6)


def test_conflicts_are_counted_among_the_largest_entries(
    found: TaskVectorFigures, vectors: dict[str, dict[str, Tensor]]
) -> None:
    trimmed = []
    for vector in vectors.values():
        entries = flat(vector).float()
        kept = entries.abs().topk(round(KEEP * len(entries))).indices
        trimmed.append(torch.zeros_like(entries).index_copy(0, kept, entries[kept]))
    for place, count in enumerate((2, 3)):
        signs = torch.stack(trimmed[:count]).sign()
        both = (signs > 0).any(dim=0) & (signs < 0).any(dim=0)
        expected = both.sum() / signs.ne(0).any(dim=0).sum()
        assert found.conflicts[place] == pytest.approx(expected.item(), abs=1e-3)


def test_opposite_experts_conflict_everywhere_and_equal_ones_nowhere() -> None:
    base, up = {"w": torch.zeros(10)}, {"w": torch.arange(1.0, 11.0)}
    down = {"w": -up["w"]}
    assert conflicts_of(base, [up, down, up]) == (1.0, 1.0)
    assert conflicts_of(base, [up, up]) == (0.0,)
    assert conflicts_of(base, [base, base]) == (0.0,)


def test_a_layer_of_zeros_has_no_length_to_compare_with(figures: Figures) -> None:
    found = figures([3, 0], [0, 4])
    empty = TaskVectorFigures(found.tasks, {**found.norms, "norm": 0.0}, found.grams, (0.0,))
    assert empty.lengths("norm").tolist() == [np.inf, 0.0]
    assert reach_of(np.zeros((2, 2)), 0.3) == 0


def test_model_stock_keeps_the_average_of_equal_experts_and_nothing_of_orthogonal_ones(
    figures: Figures,
) -> None:
    assert figures([1, 1], [1, 1]).stock == pytest.approx(1.0)
    assert figures([1, 0], [0, 1]).stock == 0
    assert figures([1, 0], [-1, 0]).stock == 0


def test_tensors_are_read_one_at_a_time(near_suite: Suite) -> None:
    read: list[str] = []

    def noted(state: LazyState) -> LazyState:
        def get(key: str) -> Tensor:
            read.append(key)
            return state[key]

        return LazyState(state.shapes, get)

    base = noted(near_suite.open_pretrained())
    norms_of(base)
    assert read == list(base)
