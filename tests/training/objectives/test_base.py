"""Objectives of one's own are looked at before a run, and what they return in every step."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from wemoe_pl.errors import ConfigError, WeMoEError
from wemoe_pl.training.objectives.base import (
    Objective,
    check_batch_size,
    check_finite_losses,
    check_objective,
    loss_of,
    needs_of,
)
from wemoe_pl.training.objectives.entropy import InformationMaximisation
from wemoe_pl.training.objectives.outputs import AdaptationOutputs


class Margin(Objective):
    """Returns whatever it was made with, of the logits."""

    def __init__(self, of: Callable[[Tensor], Any] = torch.Tensor.mean):
        self.of = of

    def __call__(self, outputs: AdaptationOutputs) -> Tensor:
        result: Tensor = self.of(outputs.logits)
        return result


class Learned(nn.Module, Objective):
    """A module that is an objective."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, outputs: AdaptationOutputs) -> Tensor:
        return self.scale * outputs.logits.square().mean()


def needing(needs: Any) -> Objective:
    objective = Margin()
    objective.needs = needs
    return objective


def outputs(logits: Tensor | None = None) -> AdaptationOutputs:
    given = torch.linspace(-1, 1, 12).reshape(4, 3) if logits is None else logits
    return AdaptationOutputs("dtd", given.requires_grad_())


@pytest.mark.parametrize("needs", [(), ["features"], {"images", "expert_logits"}])
def test_needs_may_be_any_collection_of_names(needs: Any) -> None:
    assert needs_of(needing(needs)) == set(needs)


@pytest.mark.parametrize(
    ("needs", "complaint"),
    [
        ("features", r'`needs` of the objective Margin are a string: .* `needs = \("features",\)`'),
        (("feature",), "Margin needs 'feature', which does not exist. Did you mean 'features'"),
        (
            ("labels",),
            "needs 'labels', which does not exist.* Valid names: expert_features, exp",
        ),
    ],
)
def test_needs_that_there_are_not_are_refused(needs: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        needs_of(needing(needs))


@pytest.mark.parametrize(
    ("given", "named"), [(Margin, "Margin"), (lambda outputs: 0, "function"), (nn.ReLU(), "ReLU")]
)
def test_only_objects_of_objectives_are_taken(given: Any, named: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{named} is not an objective: .* wemoe_pl\.Objective"):
        check_objective(given)


def test_a_module_can_be_an_objective_if_nothing_of_it_is_trained() -> None:
    objective = Learned()
    with pytest.raises(
        ConfigError, match=r"Learned has trainable weights, .* `requires_grad_\(False\)`"
    ):
        check_objective(objective)
    objective.requires_grad_(False)
    check_objective(objective)
    assert loss_of(objective, outputs()).requires_grad


@pytest.mark.parametrize(
    ("of", "complaint"),
    [
        (lambda logits: 0.5, "Margin returned not a tensor but float for 'dtd'"),
        (lambda logits: None, "returned not a tensor but NoneType"),
        (lambda logits: logits.mean(dim=1), r"a tensor of shape \(4,\) for 'dtd'.* as its mean"),
        (lambda logits: logits.mean()[None], r"a tensor of shape \(1,\)"),
        (lambda logits: logits.detach().mean(), "a loss without gradients for 'dtd'"),
        (lambda logits: logits.argmax(), "a loss without gradients"),
    ],
)
def test_a_loss_is_a_scalar_with_gradients(of: Callable[[Tensor], Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        loss_of(Margin(of), outputs())


def test_a_loss_has_no_gradients_where_none_are_asked_for() -> None:
    with torch.no_grad():
        assert not loss_of(Margin(), outputs()).requires_grad
    assert loss_of(Margin(lambda logits: 0 * logits.sum()), outputs()) == 0


@pytest.mark.parametrize("images", [2, 16])
def test_a_diversity_term_takes_two_images(images: int) -> None:
    for objective in (InformationMaximisation(0.0, 0.4), Margin()):
        check_batch_size(objective, 1)
    check_batch_size(InformationMaximisation(0.5), images)
    complaint = r"InformationMaximisation compares .* there are only 1: set data\.batch_size to 2"
    with pytest.raises(ConfigError, match=complaint):
        check_batch_size(InformationMaximisation(0.5), 1)
    with pytest.raises(ConfigError, match=complaint):
        loss_of(InformationMaximisation(0.5), outputs(torch.ones(1, images)))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_no_number_is_blamed_on_the_objective_that_made_it(value: float) -> None:
    sound, broken = outputs(), outputs(torch.full((2, 3), value))
    losses = {"cars": torch.tensor(0.1), "dtd": torch.tensor(value)}
    check_finite_losses(Margin(), {"cars": sound, "dtd": sound}, {"cars": losses["cars"]})
    with pytest.raises(WeMoEError, match=rf"objective Margin is {value} for 'dtd', though all"):
        check_finite_losses(Margin(), {"cars": sound, "dtd": sound}, losses)
    # Of logits that are none either, the model is to blame, and the gradient is looked at.
    check_finite_losses(Margin(), {"cars": sound, "dtd": broken}, losses)
