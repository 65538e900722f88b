"""Task arithmetic, θ0 + λ Σ τ_i, against the sum written out; and what follows from it."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.task_arithmetic import TaskArithmetic


def assert_same_weights(actual: nn.Module, expected: nn.Module) -> None:
    torch.testing.assert_close(actual.state_dict(), expected.state_dict(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scaling", [0.0, 0.3, 1.0])
def test_every_weight_matches_a_reference_in_float64(
    scaling: float, pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    base = deepcopy(pretrained).double()
    doubled = {task: deepcopy(expert).double() for task, expert in experts.items()}
    merged = TaskArithmetic(scaling).merge(base, doubled)
    for name, weight in base.named_parameters():
        expected = (1 - scaling * len(experts)) * weight
        for expert in doubled.values():
            expected = expected + scaling * expert.get_parameter(name)
        error = (merged.get_parameter(name) - expected).norm() / expected.norm()
        assert error.item() <= 1e-9


def test_one_expert_at_lambda_one_is_that_expert(
    pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    cars = experts["cars"]
    assert_same_weights(TaskArithmetic(1.0).merge(pretrained, {"cars": cars}), cars)


def test_lambda_zero_is_the_pretrained_encoder(
    pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    assert_same_weights(TaskArithmetic(0.0).merge(pretrained, experts), pretrained)


def test_identical_experts_that_share_lambda_one_are_that_expert(
    pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    same = dict.fromkeys(["a", "b", "c", "d"], experts["cars"])
    assert_same_weights(TaskArithmetic(0.25).merge(pretrained, same), experts["cars"])


def test_the_order_of_experts_does_not_matter(
    pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    forward = TaskArithmetic().merge(pretrained, experts)
    backward = TaskArithmetic().merge(pretrained, dict(reversed(experts.items())))
    assert_same_weights(forward, backward)


def test_buffers_are_merged_like_parameters_and_counters_are_kept() -> None:
    base, expert = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    expert.get_buffer("running_mean").fill_(2.0)
    expert.get_buffer("num_batches_tracked").fill_(9)
    merged = TaskArithmetic(0.5).merge(base, {"cars": expert})
    assert merged.get_buffer("running_mean").tolist() == [1.0, 1.0]
    assert merged.get_buffer("num_batches_tracked") == 0


@pytest.mark.parametrize("scaling", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_lambda_out_of_range_is_refused(scaling: float) -> None:
    with pytest.raises(MergeError, match=f"{scaling}.* 0 to 1"):
        TaskArithmetic(scaling)


def test_an_expert_of_another_shape_is_named_with_its_first_key() -> None:
    with pytest.raises(MergeError, match=r"Expert 'cars' .*'weight' .*\(3, 5\) .*\(3, 2\)"):
        TaskArithmetic().merge(nn.Linear(2, 3), {"cars": nn.Linear(5, 3)})
