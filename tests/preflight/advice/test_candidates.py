"""Which experts can be merged, and what is said of the others."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import CheckpointError, ConfigError
from wemoe_pl.preflight.advice.candidates import find_candidates

Replaced = Callable[..., Suite]


def base_of(suite: Suite) -> dict[str, Tensor]:
    """The pretrained weights."""
    return dict(suite.open_pretrained())


def test_experts_that_are_near_are_all_kept(near_suite: Suite) -> None:
    found = find_candidates(near_suite)
    assert list(found.experts) == list(near_suite.experts)
    assert found.left_out == {}
    base = base_of(near_suite)
    apart = [(found.experts["dtd"][key] - w).double().norm() for key, w in base.items()]
    norms = [w.double().norm() for w in base.values()]
    expected = torch.stack(apart).norm() / torch.stack(norms).norm()
    assert found.distances["dtd"] == pytest.approx(expected.item(), rel=1e-5)


def test_another_initialisation_is_left_out_with_the_reason(
    near_suite: Suite, tiny_suite: Suite
) -> None:
    mixed = replace(near_suite, experts={**near_suite.experts, "dtd": tiny_suite.experts["dtd"]})
    found = find_candidates(mixed)
    assert list(found.experts) == ["cars", "mnist"]
    assert "was it fine-tuned from that one? Two models that were trained" in found.left_out["dtd"]


def test_the_pretrained_encoder_itself_is_left_out(near_suite: Suite, replaced: Replaced) -> None:
    found = find_candidates(replaced(cars=base_of(near_suite)))
    assert found.left_out == {
        "cars": "It is the pretrained encoder itself, and adds nothing to it."
    }


def test_another_architecture_is_left_out(
    replaced: Replaced, tiny_vit: Callable[..., nn.Module]
) -> None:
    other = tiny_vit(1, img_size=28, patch_size=14, embed_dim=16, depth=3)
    found = find_candidates(replaced(mnist=dict(other.state_dict())))
    assert list(found.left_out) == ["mnist"]
    assert "blocks.2" in found.left_out["mnist"]


def test_numbers_that_are_not_finite_are_left_out(near_suite: Suite, tmp_path: Path) -> None:
    broken = base_of(near_suite)
    broken["norm.weight"] = torch.full_like(broken["norm.weight"], float("nan"))
    save_file(broken, tmp_path / "dtd.safetensors")
    experts = {**near_suite.experts, "dtd": str(tmp_path / "dtd.safetensors")}
    found = find_candidates(replace(near_suite, experts=experts))
    assert list(found.left_out) == ["dtd"]


def test_a_file_that_is_missing_is_told_and_the_others_go_on(near_suite: Suite) -> None:
    experts = {**near_suite.experts, "cars": "nowhere.safetensors"}
    found = find_candidates(replace(near_suite, experts=experts))
    assert list(found.experts) == ["dtd", "mnist"]
    assert "nowhere.safetensors" in found.left_out["cars"]


def test_one_expert_is_too_few_and_the_reasons_are_told(near_suite: Suite) -> None:
    experts = {"cars": near_suite.experts["cars"], "dtd": "nowhere.safetensors"}
    with pytest.raises(ConfigError, match=r"of the 2 of 'tiny' only 1 can be merged \('dtd': "):
        find_candidates(replace(near_suite, experts=experts))
    with pytest.raises(ConfigError, match="of the 0 of 'tiny' only 0 can be merged: list others"):
        find_candidates(replace(near_suite, experts={}))


def test_without_a_pretrained_encoder_there_is_no_advice(near_suite: Suite, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone\.safetensors"):
        find_candidates(replace(near_suite, pretrained=str(tmp_path / "gone.safetensors")))
