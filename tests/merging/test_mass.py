"""MASS against an encoder that is merged for every image by itself, in double precision."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from helpers.written_mass import mass_of_an_image
from torch import Tensor, nn

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.mass import MASS, MASSEncoder
from wemoe_pl.merging.svc import SVC
from wemoe_pl.merging.tsv import TSVM

Experts = dict[str, nn.Module]
IMAGES = torch.randn(12, 3, 32, 32, generator=torch.Generator().manual_seed(0)).double()


def features_of(method: MASS, pretrained: nn.Module, experts: Experts) -> Tensor:
    return method.merge(pretrained, experts)(IMAGES)


@pytest.mark.parametrize(
    "method",
    [
        MASS(),
        MASS(depth=0.0, temperature=3.0, threshold=0.1, most_experts=2, most_alike=-1.0, cached=1),
        MASS(temperature=5.0, threshold=0.33, most_experts=9, most_alike=0.02),
    ],
    ids=["defaults", "first block", "many"],
)
def test_every_image_is_encoded_as_it_is_alone_in_numpy(
    doubled: tuple[nn.Module, Experts], method: MASS
) -> None:
    pretrained, experts = doubled
    encoder = method.merge(pretrained, experts)
    found = encoder(IMAGES)
    chosen = set()
    for image, features in zip(IMAGES, found, strict=True):
        expected, tasks = mass_of_an_image(method, pretrained, experts, image)
        chosen.add(tasks)
        torch.testing.assert_close(features, expected, rtol=1e-8, atol=1e-8)
    assert len(chosen) > 1
    torch.testing.assert_close(encoder(IMAGES), found, rtol=0, atol=0)  # out of the cache


def test_one_expert_is_merged_by_both_looks_alike(doubled: tuple[nn.Module, Experts]) -> None:
    pretrained, experts = doubled
    one = {"dtd": experts["dtd"]}
    expected = TSVM().merge(pretrained, one)(IMAGES)
    torch.testing.assert_close(features_of(MASS(), pretrained, one), expected)


def test_of_equal_experts_the_first_look_takes_one(doubled: tuple[nn.Module, Experts]) -> None:
    pretrained, experts = doubled
    same = dict.fromkeys(["one", "two", "three", "four"], experts["dtd"])
    encoder = MASS().merge(pretrained, same)
    assert isinstance(encoder, MASSEncoder)
    name = "blocks.0.mlp.fc1.weight"
    start = pretrained.get_parameter(name).detach()
    vector = (experts["dtd"].get_parameter(name).detach() - start).numpy()
    left, values, right = np.linalg.svd(vector, full_matrices=False)
    kept = len(values) // 4
    expected = (left[:, :kept] * values[:kept]) @ right[:kept]
    delta = encoder.first.get_parameter(name) - start
    torch.testing.assert_close(delta, torch.from_numpy(expected))
    assert encoder(IMAGES).isfinite().all()


def test_experts_that_did_not_move_are_not_chosen(doubled: tuple[nn.Module, Experts]) -> None:
    pretrained, experts = doubled
    with pytest.warns(UserWarning, match="adds nothing"):
        encoder = MASS(threshold=0.0).merge(pretrained, {"still": pretrained, **experts})
    assert isinstance(encoder, MASSEncoder)
    encoder.router.record_routing = True
    encoder(IMAGES)
    assert encoder.router.routing_weights is not None
    assert encoder.router.routing_weights.argmax(dim=1).ne(0).all()
    with pytest.warns(UserWarning, match="adds nothing"):
        nothing = MASS().merge(pretrained, {"still": pretrained, "too": pretrained})
    torch.testing.assert_close(nothing(IMAGES), pretrained(IMAGES))


def test_merged_models_are_kept_up_to_a_number(doubled: tuple[nn.Module, Experts]) -> None:
    encoder = MASS(cached=2).merge(*doubled)
    assert isinstance(encoder, MASSEncoder)
    kept = [encoder.weights(tasks) for tasks in ((0,), (1,))]
    assert encoder.weights((0,)) is kept[0]
    encoder.weights((0, 2))  # in whose place that of (1,) goes
    assert encoder.weights((0,)) is kept[0]
    assert encoder.weights((1,)) is not kept[1]
    before = encoder.weights((1,))
    encoder.float()
    assert encoder.weights((1,)) is not before
    assert {w.dtype for w in encoder.weights((1,)).values()} == {torch.float32}


def test_what_a_prediction_has_merged_is_fit_for_later(doubled: tuple[nn.Module, Experts]) -> None:
    encoder = MASS().merge(*doubled)
    with torch.inference_mode():
        encoder(IMAGES)
    images = IMAGES.clone().requires_grad_()
    encoder(images).sum().backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()


def test_nothing_is_trained_and_nothing_given_is_changed(
    doubled: tuple[nn.Module, Experts],
) -> None:
    pretrained, experts = doubled
    before = deepcopy(pretrained.state_dict())
    encoder = MASS().merge(pretrained, experts)
    encoder(IMAGES)
    assert not any(p.requires_grad for p in encoder.parameters())
    for name, values in pretrained.state_dict().items():
        assert values.equal(before[name])


def test_an_encoder_without_a_class_token_is_merged_too(
    tiny_vit: Callable[..., nn.Module],
) -> None:
    options: dict[str, Any] = {"class_token": False, "global_pool": "avg"}
    pretrained, *others = (tiny_vit(seed, **options).double() for seed in range(4))
    experts = {f"task{i}": other for i, other in enumerate(others)}
    found = features_of(MASS(), pretrained, experts)
    for image, features in zip(IMAGES, found, strict=True):
        expected, _ = mass_of_an_image(MASS(), pretrained, experts, image)
        torch.testing.assert_close(features, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 1.1}, r"^depth of MASS is 1\.1: choose a number from 0 to 1\.$"),
        ({"most_alike": 2.0}, r"^most_alike of MASS is 2\.0: choose a cosine, from -1 to 1\.$"),
        ({"cached": 0}, r"^cached of MASS is 0: choose a number from 1\.$"),
        ({"threshold": -1.0}, r"^threshold is -1\.0: choose a routing weight from 0 to 1\.$"),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(MergeError, match=message):
        MASS(**options)  # type: ignore[arg-type]


def test_nothing_is_put_on_top_of_it() -> None:
    with pytest.raises(MergeError, match=r"^SVC works on the final weights of a static method, b"):
        SVC(MASS())
