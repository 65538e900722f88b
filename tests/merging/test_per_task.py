"""What holds for every method that keeps the experts apart, compressed."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.baselines import PerTaskEncoder
from wemoe_pl.merging.emr import EMR
from wemoe_pl.merging.per_task import PerTaskMethod
from wemoe_pl.merging.switch import TSwitch
from wemoe_pl.merging.tall import TALLMasks

Experts = dict[str, nn.Module]
Models = tuple[nn.Module, Experts]
METHODS: list[PerTaskMethod] = [EMR(), TALLMasks(), TSwitch()]
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.label)
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)).double()


def becoming(method: PerTaskMethod, models: Models) -> Callable[[str], dict[str, Tensor]]:
    """A task → the weights that the merged encoder has for it."""
    encoder = method.merge(*models)
    assert isinstance(encoder, PerTaskEncoder)
    return lambda task: {k: w.clone() for k, w in encoder.become(task).state_dict().items()}


@every_method
def test_of_all_encoders_that_of_a_task_is_nearest_to_its_expert(
    method: PerTaskMethod, doubled: Models
) -> None:
    experts = doubled[1]
    weights = becoming(method, doubled)

    def distance(state: dict[str, Tensor], task: str) -> float:
        other = experts[task].state_dict()
        return sum(torch.dist(state[key], other[key]).item() ** 2 for key in other) ** 0.5

    for task in experts:
        ours = weights(task)
        assert all(distance(ours, task) < distance(weights(other), task)
                   for other in experts if other != task)  # fmt: skip


@every_method
def test_nothing_is_taken_from_what_it_was_given(method: PerTaskMethod, doubled: Models) -> None:
    models = deepcopy(doubled)
    encoder = method.merge(*models)
    expected = encoder(IMAGES, "dtd").clone()
    encoder(IMAGES, "cars")
    for model in (models[0], *models[1].values()):
        for weight in model.parameters():
            weight.data.zero_()
    assert torch.equal(encoder(IMAGES, "dtd"), expected)
    assert not any(weight.requires_grad for weight in encoder.parameters())


@every_method
def test_an_expert_that_is_the_pretrained_encoder_stays_it(
    method: PerTaskMethod, doubled: Models
) -> None:
    pretrained, experts = doubled
    weights = becoming(method, (pretrained, {**experts, "same": deepcopy(pretrained)}))
    torch.testing.assert_close(weights("same"), dict(pretrained.state_dict()), rtol=0, atol=0)


@every_method
def test_no_expert_is_refused(method: PerTaskMethod, doubled: Models) -> None:
    with pytest.raises(MergeError, match="no expert to merge"):
        method.merge(doubled[0], {})


@pytest.mark.parametrize(
    ("method", "bits"), [(EMR(), 32 + 3), (TALLMasks(), 32 + 3), (TSwitch(), 2 * 3)]
)
def test_what_is_stored_is_counted(
    method: PerTaskMethod, bits: int, pretrained: nn.Module, experts: Experts
) -> None:
    encoder = method.merge(pretrained, experts)
    # The number of entries of every tensor divides by 8.
    entries = sum(weight.numel() for weight in pretrained.parameters())
    assert isinstance(encoder, PerTaskEncoder)
    assert encoder.nbytes == entries * bits / 8
