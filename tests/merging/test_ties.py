"""TIES against entry-by-entry loops in plain Python."""

from collections.abc import Callable
from copy import deepcopy
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.ties import TIES, disjoint_mean, disjoint_sum

Experts = dict[str, nn.Module]


def in_double(pretrained: nn.Module, experts: Experts) -> tuple[nn.Module, Experts]:
    doubled = {task: deepcopy(expert).double() for task, expert in experts.items()}
    return deepcopy(pretrained).double(), doubled


def flat(model: nn.Module) -> list[float]:
    return [x for weight in model.state_dict().values() for x in weight.flatten().tolist()]


def written_out(
    pretrained: nn.Module, experts: Experts, scaling: float, keep: float, combine: str
) -> list[float]:
    """TIES on one list of numbers per model."""
    base = flat(pretrained)
    trimmed = []
    for expert in experts.values():
        vector = [x - y for x, y in zip(flat(expert), base, strict=True)]
        kept = max(1, round(keep * len(vector)))
        threshold = sorted(map(abs, vector), reverse=True)[kept - 1]
        trimmed.append([x if abs(x) >= threshold else 0.0 for x in vector])
    merged = []
    for start, *entries in zip(base, *trimmed, strict=True):
        total = sum(entries)
        agreeing = [x for x in entries if x * total > 0]
        count = max(1, len(agreeing)) if combine == "mean" else 1
        merged.append(start + scaling * sum(agreeing) / count)
    return merged


@pytest.mark.parametrize("combine", ["mean", "sum"])
@pytest.mark.parametrize("keep", [0.05, 0.2, 1.0])
def test_every_entry_is_that_of_the_loop(
    keep: float, combine: Literal["mean", "sum"], pretrained: nn.Module, experts: Experts
) -> None:
    pretrained, experts = in_double(pretrained, experts)
    merged = TIES(scaling=0.4, keep=keep, combine=combine).merge(pretrained, experts)
    expected = written_out(pretrained, experts, 0.4, keep, combine)
    assert flat(merged) == pytest.approx(expected, abs=1e-12)


def test_one_expert_at_lambda_1_of_which_all_is_kept_is_returned(
    pretrained: nn.Module, experts: Experts
) -> None:
    pretrained, experts = in_double(pretrained, experts)
    merged = TIES(scaling=1.0, keep=1.0).merge(pretrained, {"cars": experts["cars"]})
    assert flat(merged) == pytest.approx(flat(experts["cars"]), abs=1e-12)


def test_identical_experts_are_as_one(pretrained: nn.Module, experts: Experts) -> None:
    one = TIES().merge(pretrained, {"a": experts["cars"]})
    three = TIES().merge(pretrained, dict.fromkeys("abc", experts["cars"]))
    torch.testing.assert_close(three.state_dict(), one.state_dict())


def test_the_order_of_experts_does_not_matter(pretrained: nn.Module, experts: Experts) -> None:
    there = TIES().merge(pretrained, experts)
    back = TIES().merge(pretrained, dict(reversed(experts.items())))
    torch.testing.assert_close(there.state_dict(), back.state_dict())


@pytest.mark.parametrize(
    ("entries", "mean", "total"),
    [
        ([1.0, 3.0, 0.0], 2.0, 4.0),  # a zero agrees with nobody
        ([5.0, -1.0, -1.0], 5.0, 5.0),  # magnitudes elect, not heads
        ([2.0, -1.0, -1.0], 0.0, 0.0),  # a tie elects nobody
        ([0.0, 0.0, 0.0], 0.0, 0.0),
        ([-2.0, 1.0, -4.0], -3.0, -6.0),
    ],
)
def test_ties_and_zeros_are_defined(entries: list[float], mean: float, total: float) -> None:
    assert disjoint_mean(torch.tensor(entries)[:, None]).item() == mean
    assert disjoint_sum(torch.tensor(entries)[:, None]).item() == total


def test_the_paper_takes_the_mean() -> None:
    assert TIES().combine == "mean"


def test_one_threshold_is_for_all_tensors() -> None:
    pretrained, expert = nn.Linear(2, 1), nn.Linear(2, 1)
    nn.init.zeros_(pretrained.weight)
    nn.init.zeros_(pretrained.bias)
    expert.weight.data = torch.tensor([[0.5, -0.4]])
    expert.bias.data = torch.tensor([9.0])
    merged: dict[str, Tensor] = TIES(1.0, keep=1 / 3).merge(pretrained, {"a": expert}).state_dict()
    assert merged["weight"].tolist() == [[0.0, 0.0]]
    assert merged["bias"].tolist() == [9.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TIES(keep=0.0), r"keep is 0\.0: choose the share"),
        (lambda: TIES(keep=1.5), r"keep is 1\.5: choose the share"),
        (lambda: TIES(scaling=-0.1), r"is -0\.1: choose a number from 0 to 1"),
        (lambda: TIES(combine="max"), r"combine is max: give mean or sum\."),  # type: ignore[arg-type]
    ],
)
def test_values_out_of_range_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(MergeError, match=message):
        make()
