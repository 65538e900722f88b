"""T-Switch against sorting in numpy."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.baselines import PerTaskEncoder
from wemoe_pl.merging.switch import TSwitch

Experts = dict[str, nn.Module]


@pytest.mark.parametrize("keep", [0.1, 0.5, 1.0])
def test_the_largest_entries_are_signs_of_the_norm_of_the_task_vector(
    keep: float,
    doubled: tuple[nn.Module, Experts],
    task_vectors: dict[str, list[np.ndarray]],
) -> None:
    pretrained, experts = doubled
    encoder = TSwitch(keep).merge(pretrained, experts)
    assert isinstance(encoder, PerTaskEncoder)
    base = pretrained.state_dict()
    for i, task in enumerate(experts):
        vector = np.concatenate([task_vectors[key][i].ravel() for key in base])
        count = round(keep * len(vector))
        largest = np.argsort(-np.abs(vector))[:count]
        expected = np.zeros_like(vector)
        expected[largest] = np.sign(vector[largest])
        expected *= np.sqrt(np.sum(vector**2) / count)
        state = encoder.become(task).state_dict()
        found = torch.cat([(state[key] - base[key]).flatten() for key in base])
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-12)
        assert found.norm().item() == pytest.approx(np.linalg.norm(vector))


def test_a_task_vector_of_one_magnitude_is_returned(doubled: tuple[nn.Module, Experts]) -> None:
    pretrained, _ = doubled
    expert = deepcopy(pretrained)
    for weight in expert.parameters():
        weight.data += 0.01 * torch.where(weight > 0, 1.0, -1.0)
    encoder = TSwitch(keep=1.0).merge(pretrained, {"a": expert})
    assert isinstance(encoder, PerTaskEncoder)
    torch.testing.assert_close(encoder.become("a").state_dict(), expert.state_dict())


def test_its_name_is_the_published_one() -> None:
    assert TSwitch().label == "T-Switch"


@pytest.mark.parametrize("keep", [0.0, 1.1])
def test_a_share_out_of_range_is_refused(keep: float) -> None:
    with pytest.raises(MergeError, match=rf"keep is {keep}: choose the share of a task vector"):
        TSwitch(keep)
