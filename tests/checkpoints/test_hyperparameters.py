"""What an encoder computes beyond the shapes of its weights is told alike, whoever wrote it."""

from typing import Any

import pytest
import timm
import torch
from open_clip.transformer import QuickGELU, TextTransformer
from torch import nn

from wemoe_pl.checkpoints.hyperparameters import (
    ACTIVATION,
    ATTENTION_HEADS,
    EPSILON,
    IMAGE_SIZE,
    PATCH_SIZE,
    POOLING,
    PROJECTION_WIDTH,
    activation_name,
    encoder_hyperparameters,
    size_name,
    text_hyperparameters,
)

TINY: dict[str, Any] = {"embed_dim": 48, "depth": 2, "img_size": 48, "patch_size": 16}


def of_timm(name: str, **options: Any) -> dict[str, Any]:
    with torch.device("meta"):
        return dict(encoder_hyperparameters(timm.create_model(name, **{**TINY, **options})))


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        (nn.GELU(), "gelu"),
        (timm.layers.get_act_layer("gelu")(), "gelu"),
        (nn.GELU(approximate="tanh"), "gelu_pytorch_tanh"),
        (timm.layers.get_act_layer("gelu_tanh")(), "gelu_pytorch_tanh"),
        (timm.layers.get_act_layer("quick_gelu")(), "quick_gelu"),
        (QuickGELU(), "quick_gelu"),
        (nn.SiLU(), "silu"),
        (nn.Hardswish(), "Hardswish"),
    ],
)
def test_an_activation_has_one_name(activation: nn.Module, name: str) -> None:
    assert activation_name(activation) == name


def test_clip_of_timm() -> None:
    name = "vit_base_patch32_clip_quickgelu_224"
    assert of_timm(name, num_heads=6, num_classes=32) == {
        ACTIVATION: "quick_gelu",
        ATTENTION_HEADS: 6,
        EPSILON: 1e-5,
        IMAGE_SIZE: 48,
        PATCH_SIZE: 16,
        PROJECTION_WIDTH: 32,
        POOLING: "class token",
    }


@pytest.mark.parametrize(
    ("options", "pooling"),
    [
        ({"global_pool": "avg"}, "mean before the norm"),
        ({"global_pool": "avg", "fc_norm": False}, "mean after the norm"),
        ({"global_pool": "map"}, "map"),
        ({"global_pool": ""}, None),
    ],
)
def test_how_tokens_become_features(options: dict[str, Any], pooling: str | None) -> None:
    found = of_timm("vit_tiny_patch16_224", num_heads=3, num_classes=0, **options)
    assert found.get(POOLING) == pooling
    assert (found[EPSILON], found[ACTIVATION]) == (1e-6, "gelu")
    assert PROJECTION_WIDTH not in found


def test_of_what_is_no_vision_transformer_less_is_told() -> None:
    with torch.device("meta"):
        found = encoder_hyperparameters(timm.create_model("test_resnet", num_classes=0))
    assert ATTENTION_HEADS not in found
    assert ACTIVATION not in found


def test_a_text_tower_of_open_clip() -> None:
    tower = TextTransformer(width=32, heads=4, layers=1, act_layer=QuickGELU)
    found = dict(text_hyperparameters(tower))
    assert found == {
        "activation": "quick_gelu",
        "number of attention heads": 4,
        "epsilon of the layer norms": 1e-5,
        "pooling": "argmax",
        "attention mask": "causal",
    }
    free = TextTransformer(width=32, heads=4, layers=1, no_causal_mask=True, pool_type="last")
    found = dict(text_hyperparameters(free))
    assert [found[key] for key in ("activation", "pooling", "attention mask")] == [
        "gelu",
        "last",
        "none",
    ]


def test_sizes_that_are_not_square_have_both_numbers() -> None:
    assert (size_name(32, 32), size_name(32, 48)) == (32, "32×48")
