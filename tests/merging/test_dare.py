"""DARE: which entries are left, what they are multiplied by, and what decides."""

import numpy as np
import pytest
import torch
from torch import nn

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.dare import DARE
from wemoe_pl.merging.task_arithmetic import TaskArithmetic

Experts = dict[str, nn.Module]


@pytest.mark.parametrize("drop", [0.5, 0.9])
def test_entries_are_kept_at_the_rate_and_rescaled(drop: float) -> None:
    vectors = torch.tensor([1.0, 100.0])[:, None, None].expand(2, 200, 200)
    merged = DARE(drop=drop).merged_tensor("w", vectors).double() * (1 - drop)
    values, counts = np.unique(merged.round().numpy(), return_counts=True)
    assert values.tolist() == [0, 1, 100, 101]  # each expert draws by itself
    keep = 1 - drop
    expected = np.array([drop * drop, keep * drop, drop * keep, keep * keep]) * 40_000
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected).max()


def test_without_dropping_it_is_task_arithmetic(doubled: tuple[nn.Module, Experts]) -> None:
    merged, arithmetic = DARE(0.4, drop=0.0).merge(*doubled), TaskArithmetic(0.4).merge(*doubled)
    torch.testing.assert_close(merged.state_dict(), arithmetic.state_dict())


def test_its_mean_is_task_arithmetic(doubled: tuple[nn.Module, Experts]) -> None:
    key = "blocks.0.mlp.fc1.weight"
    base = doubled[0].state_dict()[key]
    vectors = torch.stack([expert.state_dict()[key] - base for expert in doubled[1].values()])
    merged = [DARE(drop=0.5, seed=seed).merged_tensor(key, vectors) for seed in range(400)]
    mean, total = torch.stack(merged).mean(dim=0), vectors.sum(dim=0)
    deviation = vectors.norm(dim=0) / 400**0.5
    assert ((mean - total).abs() < 6 * deviation).all()


def test_the_seed_and_the_name_of_a_tensor_decide_and_nothing_else() -> None:
    vectors = torch.ones(1, 64)
    one = DARE().merged_tensor("a", vectors)
    torch.manual_seed(5)
    assert torch.equal(DARE().merged_tensor("a", vectors), one)
    assert not torch.equal(DARE().merged_tensor("b", vectors), one)
    assert not torch.equal(DARE(seed=1).merged_tensor("a", vectors), one)
    assert torch.equal(DARE().merged_tensor("a", vectors.double()).float(), one)


@pytest.mark.parametrize("drop", [-0.1, 1.0, float("nan")])
def test_a_share_out_of_range_is_refused(drop: float) -> None:
    with pytest.raises(MergeError, match=rf"drop is {drop}: choose the share of entries"):
        DARE(drop=drop)
