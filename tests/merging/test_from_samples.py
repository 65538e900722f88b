"""What holds for every method that computes its weights from samples."""

import pytest
import torch
from torch import nn

from wemoe_pl.merging import Fisher, RegMean, SampleMethod, SimpleAverage


@pytest.mark.parametrize("method", [Fisher(), RegMean()], ids=repr)
def test_before_the_first_sample_it_is_the_average_all_of_which_is_to_be_computed(
    method: SampleMethod, pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    encoder = method.merge(pretrained, experts)
    average = SimpleAverage().merge(pretrained, experts)
    torch.testing.assert_close(encoder.state_dict(), average.state_dict(), rtol=0, atol=0)
    assert all(weight.requires_grad for weight in encoder.parameters())


def test_only_fisher_information_needs_labels() -> None:
    assert (Fisher.needs_labels, RegMean.needs_labels) == (True, False)
