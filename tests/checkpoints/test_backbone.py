"""The backbone: an architecture by timm's name, without weights; what is wrong with it is said."""

import re
from typing import Any

import pytest
import torch

from wemoe_pl.checkpoints import Backbone
from wemoe_pl.errors import ConfigError

OPTIONS = {"img_size": 32, "patch_size": 16, "embed_dim": 16, "depth": 2, "num_heads": 2}
BACKBONE = Backbone("vit_tiny_patch16_224", OPTIONS)
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_a_backbone_ends_in_features_unless_classes_are_given() -> None:
    assert BACKBONE.build()(IMAGES).shape == (2, BACKBONE.feature_dim) == (2, 16)
    with_head = Backbone(BACKBONE.model, {**OPTIONS, "num_classes": 5})
    assert with_head.build()(IMAGES).shape == (2, with_head.feature_dim) == (2, 5)


def test_a_backbone_is_built_in_evaluation_mode() -> None:
    assert not any(module.training for module in BACKBONE.build().modules())


def test_a_skeleton_has_the_shapes_of_the_encoder_and_no_memory() -> None:
    skeleton, encoder = BACKBONE.skeleton(), BACKBONE.build()
    assert all(weight.is_meta for weight in skeleton.state_dict().values())
    shapes = {key: weight.shape for key, weight in encoder.state_dict().items()}
    assert {key: weight.shape for key, weight in skeleton.state_dict().items()} == shapes


@pytest.mark.parametrize(
    ("model", "num_classes", "width"),
    [
        ("vit_base_patch32_clip_quickgelu_224.openai", 512, 512),
        ("vit_large_patch14_clip_quickgelu_224.openai", 768, 768),
        ("vit_large_patch14_clip_quickgelu_224.openai", 0, 1024),
    ],
)
def test_the_width_of_clips_features_is_that_of_its_joint_space(
    model: str, num_classes: int, width: int
) -> None:
    assert Backbone(model, {"num_classes": num_classes}).feature_dim == width


def test_a_misspelt_timm_model_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no model 'vit_tinny_.*Did you mean vit_tiny_patch16_2"):
        Backbone("vit_tinny_patch16_224").build()


def test_a_model_that_is_like_none_of_timms_is_refused_without_a_guess() -> None:
    with pytest.raises(ConfigError, match=r"^timm has no model '§'\. timm\.list_models\(\) gives"):
        Backbone("§").build()


@pytest.mark.parametrize(
    ("tag", "complaint"),
    [
        ("augrag_in21k", r"^timm has no weights 'augrag_in21k' .* Did you mean 'augreg_in21k'\?"),
        ("", r"^timm has no weights '' of 'vit_tiny_patch16_224'\. Valid names: augreg_in21k, "),
    ],
)
def test_a_misspelt_tag_is_answered_with_the_nearest(tag: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Backbone(f"vit_tiny_patch16_224.{tag}").build()


@pytest.mark.parametrize(
    "wrong",
    [{"img_sizee": 32}, {"num_heads": 3}, {"num_heads": 0}, {"act_layer": "relo"}],
    ids=str,
)
def test_options_that_timm_refuses_are_named(wrong: dict[str, Any]) -> None:
    options = OPTIONS | wrong
    complaint = f"The backbone 'vit_tiny_patch16_224' cannot be built with options {options}: "
    with pytest.raises(ConfigError, match="^" + re.escape(complaint)):
        Backbone(BACKBONE.model, options).build()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("pretrained", True),
        ("pretrained", False),
        ("checkpoint_path", "vit.bin"),
        ("pretrained_cfg_overlay", {"file": "vit.bin"}),
    ],
)
def test_an_option_that_reads_weights_is_refused(option: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"option '{option}' .* under `suite\.pretrained`\."):
        Backbone("vit_tiny_patch16_224", {option: value})


@pytest.mark.parametrize("depth", [-1, 0, 1001, 10**20, 2.0, True, "3", None])
def test_a_number_of_blocks_that_no_transformer_has_is_refused_at_once(depth: Any) -> None:
    complaint = rf"option 'depth' is {depth}: give a number from 1 to 1000\."
    with pytest.raises(ConfigError, match=complaint):
        Backbone("vit_tiny_patch16_224", {**OPTIONS, "depth": depth})
