"""EMR against loops over entries in plain Python."""

import numpy as np
import pytest
import torch
from torch import nn

from wemoe_pl.merging.baselines import PerTaskEncoder
from wemoe_pl.merging.emr import EMR

Experts = dict[str, nn.Module]
Vectors = dict[str, list[np.ndarray]]


def written_out(vectors: list[list[float]]) -> list[list[float]]:
    """The task vectors that EMR makes of task vectors, each as one list of numbers."""
    unified, masks = [], []
    for entries in zip(*vectors, strict=True):
        sign = 1 if sum(entries) > 0 else -1
        agreeing = [x * sign > 0 for x in entries]
        unified.append(
            sign * max(abs(x) if a else 0.0 for x, a in zip(entries, agreeing, strict=True))
        )
        masks.append(agreeing)
    found = []
    for i, vector in enumerate(vectors):
        taken = [u if mask[i] else 0.0 for u, mask in zip(unified, masks, strict=True)]
        scale = sum(map(abs, vector)) / sum(map(abs, taken))
        found.append([scale * x for x in taken])
    return found


def test_every_entry_is_that_of_the_loop(
    doubled: tuple[nn.Module, Experts], task_vectors: Vectors
) -> None:
    pretrained, experts = doubled
    keys = list(task_vectors)
    flat = [np.concatenate([task_vectors[k][i].ravel() for k in keys]) for i in range(3)]
    expected = written_out([vector.tolist() for vector in flat])
    encoder = EMR().merge(pretrained, experts)
    assert isinstance(encoder, PerTaskEncoder)
    base = pretrained.state_dict()
    for task, vector in zip(experts, expected, strict=True):
        state = encoder.become(task).state_dict()
        found = torch.cat([(state[key] - base[key]).flatten() for key in keys])
        np.testing.assert_allclose(found.numpy(), vector, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("names", ["a", "abcd"])
def test_one_expert_and_equal_ones_are_returned(
    names: str, doubled: tuple[nn.Module, Experts]
) -> None:
    pretrained, experts = doubled
    encoder = EMR().merge(pretrained, dict.fromkeys(names, experts["cars"]))
    assert isinstance(encoder, PerTaskEncoder)
    for task in names:
        found = encoder.become(task).state_dict()
        torch.testing.assert_close(found, experts["cars"].state_dict())


@pytest.mark.parametrize(
    ("entries", "elected"), [([1.0, -1.0], -1.0), ([3.0, -1.0], 3.0), ([0.0, -2.0], -2.0)]
)
def test_a_sum_of_zero_elects_the_negative_sign(entries: list[float], elected: float) -> None:
    stored = EMR().compress(torch.tensor(entries)[:, None])
    assert [stored.unpack(i).item() for i in range(2)] == [
        elected if entry * elected > 0 else 0.0 for entry in entries
    ]
