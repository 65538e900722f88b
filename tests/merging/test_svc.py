"""SVC against a loop over singular vectors and experts in numpy."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.svc import SVC
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.tsv import TSVM

Experts = dict[str, nn.Module]


def written_out(merged: np.ndarray, matrices: list[np.ndarray], floor: float) -> np.ndarray:
    left, values, right = np.linalg.svd(merged, full_matrices=False)
    calibrated = np.zeros_like(merged)
    for r, value in enumerate(values):
        ours, coefficients = left[:, r] @ merged, []
        for matrix in matrices:
            theirs = left[:, r] @ matrix
            coefficients.append(max(floor, float(ours @ theirs / (theirs @ theirs))))
        gamma = len(matrices) / sum(coefficients)
        calibrated += gamma * value * np.outer(left[:, r], right[r])
    return calibrated


@pytest.mark.parametrize(
    ("method", "floor"), [(TaskArithmetic(), None), (TSVM(), 1.0), (TaskArithmetic(0.9), 0.01)]
)
def test_linear_layers_are_those_of_the_reference(
    method: MergeMethod,
    floor: float | None,
    doubled: tuple[nn.Module, Experts],
    task_vectors: dict[str, list[np.ndarray]],
) -> None:
    base, plain = doubled[0].state_dict(), method.merge(*doubled).state_dict()
    found = SVC(method, floor=floor).merge(*doubled).state_dict()
    for key, weight in found.items():
        merged = (plain[key] - base[key]).numpy()
        if weight.ndim == 2:
            merged = written_out(merged, task_vectors[key], floor or 1 / 3)
        expected = base[key].numpy() + merged
        np.testing.assert_allclose(weight.numpy(), expected, rtol=1e-7, atol=1e-9)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_direction_that_all_share_is_counted_once(count: int) -> None:
    """The sum of T equal task vectors has every singular value T times; calibrated, once."""
    vector = random(5, 4)
    experts = vector.expand(count, -1, -1)
    found = SVC(TaskArithmetic()).calibrate(torch.cat([experts.sum(dim=0)[None], experts]))
    torch.testing.assert_close(found, vector)


def test_directions_of_single_experts_are_left_as_they_are_by_a_floor_of_1() -> None:
    first, second = torch.zeros(4, 4), torch.zeros(4, 4)
    first[0, 0], second[1, 1] = 2.0, 3.0
    matrices = torch.stack([first + second, first, second])
    torch.testing.assert_close(SVC(TSVM(), floor=1.0).calibrate(matrices), first + second)
    twice = SVC(TSVM(), floor=0.5).calibrate(matrices)  # an expert that is not there counts 0.5
    torch.testing.assert_close(twice, (first + second) / 0.75)


def test_queries_keys_and_values_are_calibrated_as_one_matrix_or_as_three(
    doubled: tuple[nn.Module, Experts],
) -> None:
    whole, parts = (
        SVC(TaskArithmetic(), split_qkv=split).merge(*doubled).state_dict()
        for split in (False, True)
    )
    differing = [key for key in whole if not torch.equal(whole[key], parts[key])]
    assert differing == [f"blocks.{i}.attn.qkv.weight" for i in (0, 1)]


def test_a_scaling_coefficient_is_undone_and_put_afterwards(
    doubled: tuple[nn.Module, Experts],
) -> None:
    base = doubled[0].state_dict()
    one, half, scaled = (
        SVC(TaskArithmetic(scaling), alpha=alpha, floor=1e-3).merge(*doubled).state_dict()
        for scaling, alpha in [(1.0, 1.0), (0.5, 1.0), (1.0, 0.2)]
    )
    for key in base:
        vector = one[key] - base[key]
        torch.testing.assert_close(scaled[key], base[key] + 0.2 * vector)
        part = 1.0 if base[key].ndim == 2 else 0.5
        expected = base[key] + part * vector
        torch.testing.assert_close(half[key], expected, rtol=0.5, atol=0.5)


@pytest.mark.parametrize("floor", [0.0, -1.0, float("nan")])
def test_a_floor_out_of_range_is_refused(floor: float) -> None:
    with pytest.raises(MergeError, match=rf"floor is {floor}: choose the least projection"):
        SVC(TSVM(), floor=floor)
