"""LiNeS against its formula, tensor by tensor."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.base import MergeMethod, blocks_of
from wemoe_pl.merging.lines import LiNeS
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.ties import TIES

Experts = dict[str, nn.Module]
DEPTH = {"blocks.0": 0.0, "blocks.1": 1.0}  # the others are scaled as the first block


@pytest.mark.parametrize("alpha", [None, 0.4])
@pytest.mark.parametrize("method", [TaskArithmetic(1.0), TIES(1.0, combine="sum")], ids=repr)
def test_blocks_are_scaled_by_their_depth(
    method: MergeMethod,
    alpha: float | None,
    doubled: tuple[nn.Module, Experts],
    task_vectors: dict[str, list[np.ndarray]],
) -> None:
    base = doubled[0].state_dict()
    plain = method.merge(*doubled).state_dict()
    total = sum(np.abs(sum(vectors)).sum() for vectors in task_vectors.values())
    size = sum((plain[key] - base[key]).abs().sum().item() for key in base)
    start = total / size / 3 if alpha is None else alpha
    found = LiNeS(method, beta=0.7, alpha=alpha).merge(*doubled).state_dict()
    for key, weight in found.items():
        scale = start + 0.7 * DEPTH.get(key[:8], 0.0)
        expected = base[key] + scale * (plain[key] - base[key])
        torch.testing.assert_close(weight, expected)


def test_on_task_arithmetic_the_first_block_is_averaged(
    doubled: tuple[nn.Module, Experts],
) -> None:
    average = TaskArithmetic(1 / 3).merge(*doubled).state_dict()
    for scaling in (1.0, 0.2):  # which the norms undo
        found = LiNeS(TaskArithmetic(scaling), beta=0.0).merge(*doubled).state_dict()
        torch.testing.assert_close(found, average)


def without_second_block(model: nn.Module) -> nn.Module:
    copy = deepcopy(model)
    del blocks_of(copy)[1]
    return copy


def test_an_encoder_of_one_block_is_scaled_as_its_first(
    doubled: tuple[nn.Module, Experts],
) -> None:
    short = without_second_block(doubled[0])
    experts = {task: without_second_block(expert) for task, expert in doubled[1].items()}
    found = LiNeS(TaskArithmetic(1.0)).merge(short, experts)
    average = TaskArithmetic(1 / 3).merge(short, experts)
    torch.testing.assert_close(found.state_dict(), average.state_dict())


@pytest.mark.parametrize("options", [{"beta": -0.1}, {"alpha": float("nan")}])
def test_values_out_of_range_are_refused(options: dict[str, float]) -> None:
    [(name, value)] = options.items()
    with pytest.raises(MergeError, match=rf"{name} of LiNeS is {value}: choose a number from 0"):
        LiNeS(TaskArithmetic(1.0), **options)
