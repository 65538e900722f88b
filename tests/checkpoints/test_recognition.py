"""The architecture of an encoder in memory is found out, or asked for."""

from typing import Any

import pytest
import timm
import torch
from timm.data import resolve_data_config
from torch import nn

from wemoe_pl.checkpoints import Backbone, backbone_of, shapes_of
from wemoe_pl.errors import ConfigError

SMALL: dict[str, Any] = {"img_size": 48, "embed_dim": 24, "depth": 3, "num_heads": 4}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_tiny_patch16_224", {**SMALL, "num_classes": 0}),
        ("vit_tiny_patch16_224", {**SMALL, "num_classes": 7, "patch_size": 8}),
        ("vit_tiny_patch16_224", {**SMALL, "num_classes": 0, "global_pool": "avg", "in_chans": 1}),
        ("deit_tiny_patch16_224", {"num_classes": 0}),
        ("vit_base_patch32_clip_quickgelu_224", {**SMALL, "patch_size": 16, "num_classes": 12}),
        ("beit_base_patch16_224", {**SMALL, "num_classes": 0}),
        ("eva02_tiny_patch14_224", {**SMALL, "img_size": 28, "embed_dim": 48, "num_classes": 0}),
    ],
)
def test_a_backbone_builds_encoders_like_the_one_that_was_given(
    name: str, options: dict[str, Any]
) -> None:
    encoder = timm.create_model(name, **options).eval()
    backbone = backbone_of(encoder)
    again = backbone.build()
    assert shapes_of(again.state_dict()) == shapes_of(encoder.state_dict())
    again.load_state_dict(encoder.state_dict())
    size = options.get("img_size", 224)
    images = torch.randn(2, options.get("in_chans", 3), size, size)
    with torch.no_grad():
        torch.testing.assert_close(again(images), encoder(images), rtol=0, atol=0)
    ours, theirs = (resolve_data_config(model=model) for model in (again, encoder))
    assert (ours["mean"], ours["std"]) == (theirs["mean"], theirs["std"])


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("vit_large_patch14_clip_224.openai", "mean"),
        ("vit_base_patch32_clip_384.openai_ft_in12k_in1k", "crop_mode"),
    ],
)
def test_weights_for_images_that_are_prepared_otherwise_are_told_by_their_tag(
    name: str, setting: str
) -> None:
    usual, wanted = (
        resolve_data_config(model=Backbone(each, {"depth": 1}).skeleton())
        for each in (name.partition(".")[0], name)
    )
    assert usual[setting] != wanted[setting]
    with torch.device("meta"):
        encoder = timm.create_model(name, num_classes=0, depth=1)
    assert resolve_data_config(model=backbone_of(encoder).skeleton()) == wanted


def test_what_timm_has_not_created_asks_for_its_backbone() -> None:
    with pytest.raises(ConfigError, match="models this Linear is: give its arch"):
        backbone_of(nn.Linear(2, 2))


def test_options_that_do_not_show_ask_for_the_backbone() -> None:
    encoder = timm.create_model("vit_tiny_patch16_224", **SMALL, num_classes=0, reg_tokens=2)
    with pytest.raises(ConfigError, match="is a 'vit_tiny_patch16_224' of timm's that was created"):
        backbone_of(encoder)
    assert Backbone("vit_tiny_patch16_224", {**SMALL, "reg_tokens": 2}).shapes == shapes_of(
        encoder.state_dict()
    )
