"""TALL masks and Consensus against loops over entries in plain Python."""

import numpy as np
import pytest
import torch
from torch import nn

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.baselines import PerTaskEncoder
from wemoe_pl.merging.tall import Consensus, TALLMasks
from wemoe_pl.merging.task_arithmetic import TaskArithmetic

Experts = dict[str, nn.Module]
Vectors = dict[str, list[np.ndarray]]


def mask_of(entries: tuple[float, ...], i: int, threshold: float) -> bool:
    rest = sum(x for j, x in enumerate(entries) if j != i)
    return abs(entries[i]) > threshold * abs(rest)


@pytest.mark.parametrize("threshold", [0.2, 0.6, 2.0])
def test_each_task_takes_what_is_mostly_its_own(
    threshold: float, doubled: tuple[nn.Module, Experts], task_vectors: Vectors
) -> None:
    pretrained, experts = doubled
    encoder = TALLMasks(threshold).merge(pretrained, experts)
    assert isinstance(encoder, PerTaskEncoder)
    base = pretrained.state_dict()
    for i, task in enumerate(experts):
        state = {key: w.clone() for key, w in encoder.become(task).state_dict().items()}
        for key in ("blocks.0.mlp.fc2.bias", "blocks.1.attn.qkv.weight"):
            rows = zip(*(vector.ravel().tolist() for vector in task_vectors[key]), strict=True)
            expected = [sum(row) if mask_of(row, i, threshold) else 0.0 for row in rows]
            found = (state[key] - base[key]).flatten().numpy()
            np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(("alpha", "threshold", "agreeing"), [(0.3, 0.4, 2), (1.0, 0.9, 2)])
def test_consensus_keeps_what_enough_tasks_take(
    alpha: float,
    threshold: float,
    agreeing: int,
    doubled: tuple[nn.Module, Experts],
    task_vectors: Vectors,
) -> None:
    base = doubled[0].state_dict()
    merged = Consensus(alpha, threshold, agreeing).merge(*doubled).state_dict()
    for key in ("norm.weight", "blocks.0.mlp.fc1.weight"):
        expected = []
        for row in zip(*(vector.ravel().tolist() for vector in task_vectors[key]), strict=True):
            count = sum(mask_of(row, i, threshold) for i in range(3))
            expected.append(alpha * sum(row) if count >= agreeing else 0.0)
        found = (merged[key] - base[key]).flatten().numpy()
        np.testing.assert_allclose(found, expected, atol=1e-12)
        assert 0 < np.count_nonzero(expected) < len(expected)


def test_one_expert_is_returned_and_its_consensus_is_task_arithmetic(
    doubled: tuple[nn.Module, Experts],
) -> None:
    one = doubled[0], {"cars": doubled[1]["cars"]}
    encoder = TALLMasks().merge(*one)
    assert isinstance(encoder, PerTaskEncoder)
    torch.testing.assert_close(encoder.become("cars").state_dict(), one[1]["cars"].state_dict())
    arithmetic = TaskArithmetic(0.3).merge(*one).state_dict()
    torch.testing.assert_close(Consensus().merge(*one).state_dict(), arithmetic)


def test_with_a_threshold_of_0_consensus_is_task_arithmetic(
    doubled: tuple[nn.Module, Experts],
) -> None:
    merged = Consensus(threshold=0.0).merge(*doubled)
    arithmetic = TaskArithmetic(0.3).merge(*doubled)
    torch.testing.assert_close(merged.state_dict(), arithmetic.state_dict())


@pytest.mark.parametrize("kind", [TALLMasks, Consensus])
@pytest.mark.parametrize("threshold", [-0.1, float("nan")])
def test_a_threshold_out_of_range_is_refused(
    kind: type[TALLMasks] | type[Consensus], threshold: float
) -> None:
    with pytest.raises(MergeError, match=rf"threshold is {threshold}: choose the ratio to"):
        kind(threshold=threshold)


def test_no_masks_to_agree_are_refused() -> None:
    with pytest.raises(MergeError, match="agreeing is 0: choose how many masks"):
        Consensus(agreeing=0)
