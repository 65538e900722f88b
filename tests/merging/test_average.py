"""The mean of the experts, entry by entry."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from wemoe_pl.merging.average import SimpleAverage

Experts = dict[str, nn.Module]


def in_double(models: Experts) -> Experts:
    return {name: deepcopy(model).double() for name, model in models.items()}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_weight_is_the_mean_of_the_experts(
    count: int, pretrained: nn.Module, experts: Experts
) -> None:
    chosen = dict(list(in_double(experts).items())[:count])
    merged = SimpleAverage().merge(deepcopy(pretrained).double(), chosen)
    for name, weight in merged.state_dict().items():
        values = [expert.state_dict()[name].flatten().tolist() for expert in chosen.values()]
        expected = [sum(entries) / count for entries in zip(*values, strict=True)]
        assert weight.flatten().tolist() == pytest.approx(expected, abs=1e-12)


def test_identical_experts_give_that_expert(pretrained: nn.Module, experts: Experts) -> None:
    twins = dict.fromkeys(("a", "b", "c"), experts["cars"])
    merged = SimpleAverage().merge(pretrained, twins)
    torch.testing.assert_close(merged.state_dict(), experts["cars"].state_dict())


def test_counters_stay_as_they_were() -> None:
    pretrained, expert = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    expert.register_buffer("num_batches_tracked", torch.tensor(7))
    merged = SimpleAverage().merge(pretrained, {"a": expert})
    assert merged.state_dict()["num_batches_tracked"] == 0
