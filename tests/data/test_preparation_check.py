"""What lies beside weights about images is compared with how images are prepared."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from wemoe_pl.checkpoints import Backbone
from wemoe_pl.data.preparation_check import warn_of_other_preparation
from wemoe_pl.data.preprocessing import data_config
from wemoe_pl.errors import CheckpointError
from wemoe_pl.system.warn import WeMoEWarning, warn_once

OPENAI = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
HALF = [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]
LARGE = Backbone("vit_large_patch14_clip_224", {"depth": 1})


@pytest.fixture(autouse=True)
def warned_anew() -> None:
    warn_once.cache_clear()


def source(folder: Path, name: str, contents: Any) -> str:
    """A folder of weights with a config."""
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").touch()
    (folder / name).write_text(json.dumps(contents))
    return str(folder)


def assert_nothing_is_told(backbone: Backbone, sources: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_other_preparation(backbone, sources)


def hugging_face(mean: list[float], std: list[float], **others: Any) -> dict[str, Any]:
    """A `preprocessor_config.json` as that of `openai/clip-vit-large-patch14`."""
    known = {"crop_size": 224, "do_center_crop": True, "do_normalize": True, "do_resize": True}
    return {**known, "image_mean": mean, "image_std": std, "resample": 3, "size": 224, **others}


def open_clip(mean: list[float], std: list[float], **others: Any) -> dict[str, Any]:
    """An `open_clip_config.json`."""
    stated = {"mean": mean, "std": std, "interpolation": "bicubic", "resize_mode": "shortest"}
    return {"model_cfg": {"embed_dim": 768}, "preprocess_cfg": {**stated, **others}}


def timms(mean: list[float], std: list[float], **others: Any) -> dict[str, Any]:
    """A `config.json` of timm's."""
    stated = {"mean": mean, "std": std, "interpolation": "bicubic", "crop_mode": "center"}
    return {"architecture": LARGE.model, "pretrained_cfg": {**stated, **others}}


FILES = {
    "preprocessor_config.json": hugging_face,
    "open_clip_config.json": open_clip,
    "config.json": timms,
}


@pytest.mark.parametrize("name", FILES)
def test_another_normalisation_is_told_with_the_name_that_has_it(name: str, tmp_path: Path) -> None:
    assert data_config(LARGE)["mean"] == (0.5, 0.5, 0.5)
    experts = [source(tmp_path / task, name, FILES[name](*OPENAI)) for task in ("a", "b", "c")]
    with pytest.warns(WeMoEWarning) as told:
        warn_of_other_preparation(LARGE, experts)
    [warning] = told
    assert str(warning.message) == (
        f"{tmp_path}/a/{name} (and 2 more) says that the weights beside it want images with mean "
        "(0.481, 0.458, 0.408), standard deviation (0.269, 0.261, 0.276), but those of the "
        "backbone 'vit_large_patch14_clip_224' are prepared with mean 0.500, standard deviation "
        "0.500: if so, write 'vit_large_patch14_clip_224.apple_mclip2_dfndr2b' as the name of the "
        "backbone."
    )
    advised = Backbone("vit_large_patch14_clip_224.apple_mclip2_dfndr2b", LARGE.options)
    assert_nothing_is_told(advised, experts)


@pytest.mark.parametrize("name", FILES)
def test_the_same_preparation_is_not_told(name: str, tmp_path: Path) -> None:
    given = source(tmp_path, name, FILES[name](*HALF))
    assert_nothing_is_told(LARGE, [given, given])


@pytest.mark.parametrize(
    ("name", "stated", "said"),
    [
        ("preprocessor_config.json", {"resample": 2}, "with filter bilinear, but"),
        (
            "preprocessor_config.json",
            {"do_normalize": False},
            r"with mean 0\.000, standard deviation 1\.000, but",
        ),
        (
            "preprocessor_config.json",
            {"do_center_crop": False, "size": {"height": 224, "width": 224}},
            "with other shapes squashed, but",
        ),
        ("open_clip_config.json", {"resize_mode": "squash"}, "with other shapes squashed, but"),
        ("open_clip_config.json", {"resize_mode": "longest"}, "with other shapes bordered, but"),
        (
            "config.json",
            {"crop_mode": "squash", "interpolation": "bilinear"},
            "bilinear, other shapes s",
        ),
    ],
)
def test_whatever_differs_is_told(
    name: str, stated: dict[str, Any], said: str, tmp_path: Path
) -> None:
    given = source(tmp_path, name, {**FILES[name](*HALF, **stated)})
    with pytest.warns(WeMoEWarning, match=said):
        warn_of_other_preparation(LARGE, [given])


def test_where_no_name_of_timms_would_help_that_is_said(tmp_path: Path) -> None:
    given = source(tmp_path, "config.json", timms([0.0, 0.0, 0.0], [1.0, 1.0, 1.0]))
    with pytest.warns(WeMoEWarning, match=r"timm has no weights of this architecture that want"):
        warn_of_other_preparation(LARGE, [given])


@pytest.mark.parametrize(
    "unclear",
    [
        {"do_center_crop": None, "resample": None},
        {"do_resize": False, "do_center_crop": False, "size": {"height": 1, "width": 1}},
        {"resample": 99},
    ],
)
def test_what_a_processor_leaves_open_is_not_compared(
    unclear: dict[str, Any], tmp_path: Path
) -> None:
    given = source(tmp_path, "preprocessor_config.json", hugging_face(*HALF, **unclear))
    assert_nothing_is_told(LARGE, [given])


def test_one_channel_is_compared_with_three_that_are_alike(tmp_path: Path) -> None:
    grey = Backbone("vit_tiny_patch16_224", {"in_chans": 1, "depth": 1})
    given = source(tmp_path, "config.json", timms(*HALF))
    assert_nothing_is_told(grey, [given])


def test_a_damaged_config_is_refused(tmp_path: Path) -> None:
    given = source(tmp_path, "preprocessor_config.json", {"image_mean": ["a", "b", "c"]})
    with pytest.raises(CheckpointError, match=r"'image_mean' is .* instead of a list of numbers"):
        warn_of_other_preparation(LARGE, [given])
