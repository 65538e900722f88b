"""What holds for every method that computes its weights from samples."""

import pytest
import torch
from torch import nn

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.average import SimpleAverage
from wemoe_pl.merging.fisher import Fisher
from wemoe_pl.merging.from_samples import SampleMethod
from wemoe_pl.merging.regmean import RegMean
from wemoe_pl.merging.regmean_plus_plus import RegMeanPlusPlus


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


@pytest.mark.parametrize("method", [Fisher(), RegMean(), RegMeanPlusPlus()], ids=repr)
def test_models_are_merged_with_samples_by_one_call(
    method: SampleMethod, pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    """As by the sums of its own, whose figures other tests compare with slow ones."""
    generator = torch.Generator().manual_seed(0)
    heads = {task: nn.Linear(16, 3) for task in experts}
    samples = {
        task: [
            (torch.randn(size, 3, 32, 32, generator=generator), torch.arange(size))
            for size in (1, 3)
        ]
        for task in experts
    }
    merged = method.merge_with_samples(pretrained, experts, samples, heads)
    sums = method.start(pretrained, experts)
    for task, batches in samples.items():
        joined = [torch.cat(parts) for parts in zip(*batches, strict=True)]
        sums.add(task, experts[task], heads[task], joined[0], joined[1])
    averages = SimpleAverage().merge(pretrained, experts).state_dict()
    expected = averages | sums.solve(averages)
    for name, weight in merged.state_dict().items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-3, atol=1e-4)
    assert type(merged) is type(pretrained)
    assert not any(weight.requires_grad for weight in merged.parameters())


def test_what_a_method_lacks_is_named(pretrained: nn.Module, experts: dict[str, nn.Module]) -> None:
    samples = {task: [(torch.randn(1, 3, 32, 32), torch.tensor([0]))] for task in experts}
    assert RegMean().merge_with_samples(pretrained, experts, samples)  # it looks at no label
    with pytest.raises(MergeError, match="Fisher Merging needs a head for every task: 'cars'"):
        Fisher().merge_with_samples(pretrained, experts, samples)
    del samples["dtd"]
    with pytest.raises(MergeError, match="RegMean needs samples for every task: 'dtd' has none"):
        RegMean().merge_with_samples(pretrained, experts, samples)
