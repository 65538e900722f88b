"""Objectives get what they need of a step, as a slow computation gets it, and nothing else."""

from collections.abc import Callable, Mapping
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError
from wemoe_pl.merging.baselines import Individual
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.model.building import build_classifier
from wemoe_pl.model.classifier import MultiTaskClassifier
from wemoe_pl.training.objectives.outputs import AdaptationOutputs, Need, compute_needs

NEEDS: frozenset[Need] = frozenset(get_args(Need))
Images = dict[str, Tensor]


@pytest.fixture
def images() -> Images:
    generator = torch.Generator().manual_seed(3)
    sizes = {"mnist": 2, "cars": 3}
    return {t: torch.randn(n, 3, 28, 28, generator=generator) for t, n in sizes.items()}


def teachers(given: Mapping[str, Tensor]) -> dict[Need, Images]:
    return {
        "expert_logits": {task: batch.flatten(1)[:, :5] for task, batch in given.items()},
        "expert_features": {task: batch.flatten(1)[:, 5:9] for task, batch in given.items()},
        "expert_shift": {task: batch.flatten(1)[:, 9] for task, batch in given.items()},
    }


def alone(model: MultiTaskClassifier, image: Tensor) -> tuple[Tensor, Tensor]:
    """Features (D,) and routing weights (blocks, T) of one image by itself."""
    for mixture in model.mixtures:
        mixture.record_routing = True
    features = model.encoder(image[None])[0]
    return features, torch.stack([weights[0] for weights in model.routing_weights])


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_every_need_is_what_one_image_after_another_gives(
    tiny_suite: Suite, images: Images, depth: int
) -> None:
    model = build_classifier(tiny_suite, WEMoE(router_depth=depth))
    found = compute_needs(model, images, NEEDS, teachers)
    assert found.keys() == {"logits", *NEEDS}
    for task, batch in images.items():
        rows = [alone(model, image) for image in batch]
        features, routing = (torch.stack(list(values)) for values in zip(*rows, strict=True))
        close: Callable[..., None] = torch.testing.assert_close
        close(found["features"][task], features)
        close(found["routing_weights"][task], routing)
        close(found["logits"][task], model.head(task)(features))
        assert found["images"][task] is batch
        close(found["expert_logits"][task], batch.flatten(1)[:, :5])
        close(found["expert_features"][task], batch.flatten(1)[:, 5:9])
        close(found["expert_shift"][task], batch.flatten(1)[:, 9])


@pytest.mark.parametrize("merge", [WEMoE(), WEMoE(routing="batch"), WEMoE(router_depth=0)])
def test_routing_weights_have_gradients_and_leave_nothing_behind(
    tiny_suite: Suite, images: Images, merge: WEMoE
) -> None:
    model = build_classifier(tiny_suite, merge)
    weights = compute_needs(model, images, frozenset({"routing_weights"}))["routing_weights"]
    assert {task: own.shape for task, own in weights.items()} == {
        "mnist": (2, 2, 3),
        "cars": (3, 2, 3),
    }
    if merge.routing == "batch":
        assert all(torch.equal(own[0], own[1]) for own in weights.values())
    weights["cars"][:, 0].square().sum().backward()
    gradients = [[p.grad for p in m.router.parameters()] for m in model.mixtures]
    assert [any(g.any() for g in own if g is not None) for own in gradients] == [True, False]
    assert all(mixture.routing_weights is None for mixture in model.mixtures)
    assert not any(mixture.record_routing for mixture in model.mixtures)


class Counted(nn.Module):
    """An encoder that counts its passes."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder, self.passes = encoder, 0

    def forward(self, images: Tensor) -> Tensor:
        self.passes += 1
        features: Tensor = self.encoder(images)
        return features


@pytest.mark.parametrize("needs", [set(), {"features"}, {"routing_weights", "images"}])
def test_nothing_else_is_computed(tiny_suite: Suite, images: Images, needs: Any) -> None:
    model = build_classifier(tiny_suite, WEMoE())
    model.encoder = Counted(model.encoder)
    assert compute_needs(model, images, frozenset(needs)).keys() == {"logits", *needs}
    assert model.encoder.passes == 1


def test_an_encoder_that_is_told_the_task_is_told_it(tiny_suite: Suite, images: Images) -> None:
    model = build_classifier(tiny_suite, Individual())
    found = compute_needs(model, images, frozenset({"features"}))
    for task, batch in images.items():
        torch.testing.assert_close(found["features"][task], model.encode(batch, task))


@pytest.mark.parametrize("need", get_args(Need))
def test_what_was_not_asked_for_is_named(need: Need) -> None:
    there = AdaptationOutputs("dtd", torch.zeros(1, 2), {need: torch.ones(3)})
    assert getattr(there, need).tolist() == [1, 1, 1]
    lacking = AdaptationOutputs("dtd", torch.zeros(1, 2))
    with pytest.raises(ConfigError, match=rf"looks at `outputs\.{need}`.* add \"{need}\" to the"):
        getattr(lacking, need)
