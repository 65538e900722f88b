"""Weights whose config tells another computation are refused, and nothing else is."""

import json
from pathlib import Path

import pytest

from wemoe_pl.checkpoints.config_check import OF_BACKBONES, OF_TEXT_TOWERS, check_config
from wemoe_pl.checkpoints.forms import HUGGING_FACE_CLIP, HUGGING_FACE_TEXT, OPEN_CLIP
from wemoe_pl.errors import CheckpointError

OWN: dict[str, str | float] = {"activation": "gelu", "image size": 224, "patch size": 32}
CONFIG = {"model_type": "clip", "vision_config": {"hidden_act": "gelu"}}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG))
    return path


def test_a_config_that_agrees_is_taken_and_what_is_not_known_is_not_compared(config: Path) -> None:
    check_config([config], HUGGING_FACE_CLIP, OWN, "the backbone", OF_BACKBONES)
    check_config([config], HUGGING_FACE_CLIP, {}, "the backbone", OF_BACKBONES)
    check_config([config], OPEN_CLIP, {"activation": "silu"}, "the backbone", OF_BACKBONES)


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (
            {"activation": "quick_gelu"},
            "the activation of the weights beside it is gelu, but that of the backbone is "
            "quick_gelu: for quick_gelu choose the timm model with `quickgelu` in its name, for "
            "gelu the one without.",
        ),
        (
            {"image size": 96},
            "the image size of the weights beside it is 224, but that of the backbone is 96: set "
            "`img_size` among the options of the backbone.",
        ),
        (
            {"number of attention heads": 8},
            "the number of attention heads of the weights beside it is 12, but that of the "
            "backbone is 8: set `num_heads` among the options of the backbone.",
        ),
    ],
)
def test_a_config_that_disagrees_is_told_with_what_to_do(
    own: dict[str, str | float], said: str, config: Path
) -> None:
    with pytest.raises(CheckpointError) as caught:
        check_config([config], HUGGING_FACE_CLIP, {**OWN, **own}, "the backbone", OF_BACKBONES)
    assert str(caught.value) == f"{config} says that {said}"


def test_a_text_tower_that_disagrees_is_told_with_what_to_do(config: Path) -> None:
    complaint = (
        "is quick_gelu, but that of the text tower is gelu: give the name under which open_clip"
    )
    with pytest.raises(CheckpointError, match=complaint):
        check_config([config], HUGGING_FACE_TEXT, OWN, "the text tower", OF_TEXT_TOWERS)
