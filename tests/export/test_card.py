"""Model cards: their Python runs, and they say what was measured and of what it was made."""

import ast
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from helpers.plain_images import noise
from PIL import Image, ImageOps
from timm.data import create_transform
from torch import Tensor

from wemoe_pl.export.card import described_input, model_card, without_folders
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.formats import FORMATS_BY_NAME
from wemoe_pl.export.manifest import Manifest
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.reporting.templates import template_in
from wemoe_pl.system.files import SHIPPED
from wemoe_pl.system.hub_repo import HubRepo

Card = Callable[..., str]
REPO = HubRepo("me/merged")


@pytest.fixture
def card(make_model: Callable[[MergeMethod], ExportedModel], tmp_path: Path) -> Card:
    """`card(method, "timm")`: of an export in a format, with other results if they are given."""

    def made(method: MergeMethod, name: str, **results: object) -> str:
        manifest = Manifest.of(make_model(method), name, tmp_path)
        changed: Any = {**(manifest.results or {}), **results} if results else manifest.results
        return model_card(replace(manifest, results=changed), REPO, {}, 1.25e-7)

    return made


@pytest.mark.parametrize("name", FORMATS_BY_NAME)
def test_a_card_says_how_it_is_loaded(card: Card, name: str) -> None:
    text = card(TaskArithmetic(), name)
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    ast.parse(code)
    assert '"me/merged' in code or "hf-hub:me/merged" in code
    assert "by at most 1.2e-07" in text


CONFIGS = {
    "RGB": {"mean": (0.48, 0.45, 0.4), "std": (0.26, 0.26, 0.27), "input_size": (3, 28, 28)},
    "grey": {"mean": (0.5,), "std": (0.25,), "input_size": (1, 28, 28)},
    "tall": {"mean": (0.0, 0.5, 1.0), "std": (1.0, 0.5, 0.25), "input_size": (3, 40, 24)},
}


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))
def test_a_card_prepares_photographs_of_every_shape_as_timm_does(
    config: dict[str, Any],
    crop_mode: str,
    interpolation: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = {**config, "crop_mode": crop_mode, "interpolation": interpolation, "crop_pct": 1.0}
    code = template_in(SHIPPED, "loading/images.jinja").render(
        input=described_input(whole, "float32")
    )
    monkeypatch.chdir(tmp_path)
    for size in [(28, 28), (64, 49), (31, 90), (57, 200), (7, 5), (24, 40)]:
        photo = noise(size).convert("RGB" if config["input_size"][0] == 3 else "L")
        photo.save("photo.png")
        names: dict[str, Any] = {"np": np, "Image": Image, "ImageOps": ImageOps}
        exec(code, names)
        expected = create_transform(**whole, is_training=False)(photo)
        assert isinstance(expected, Tensor)
        np.testing.assert_allclose(names["images"][0], expected.numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["timm", "hf", "onnx", "torch-export"])
def test_a_photograph_is_turned_upright(card: Card, name: str) -> None:
    [code] = re.findall(r"```python\n(.*?)```", card(TaskArithmetic(), name), re.DOTALL)
    [line] = [line for line in code.splitlines() if "Image.open" in line]
    assert "ImageOps.exif_transpose(Image.open(" in line
    assert "which the program above does not" in card(TaskArithmetic(), name)
    assert "the program above" not in card(TaskArithmetic(), "bundle")


SAID = {
    "center": "so that the shorter side fits, cropped to the middle 32×32 pixels",
    "squash": "to 32×32 pixels, whatever their shape",
    "border": "so that all of them fits, and bordered with the colour (123, 117, 104) to 32×32",
}


@pytest.mark.parametrize("crop_mode", SAID)
def test_a_card_says_how_images_are_made_to_fit(
    card: Card, crop_mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "wemoe_pl.export.card.described_input",
        lambda config, precision: described_input({**config, "crop_mode": crop_mode}, precision),
    )
    assert SAID[crop_mode] in card(TaskArithmetic(), "onnx")


def test_timm_is_told_of_the_architecture_where_it_does_not_know_it(card: Card) -> None:
    line = "import wemoe_pl.model.architecture"
    assert line in card(WEMoE(), "timm")
    assert line not in card(TaskArithmetic(), "timm")
    assert "mixture of 2 experts" in card(WEMoE(), "timm")
    assert "plain vision transformer" in card(TaskArithmetic(), "timm")


def test_a_card_has_the_table_of_the_run(card: Card) -> None:
    text = card(WEMoE(), "bundle")
    rows = ["| cars | 50.0 | 60.0 |", "| mnist | 87.5 | 90.0 |", "| mean | 68.8 | 75.0 |"]
    assert "\n".join(rows) in text
    assert "Seed 3. Rendered images." in text
    assert "| cars | 50.0 | – |" in card(WEMoE(), "bundle", reference={})
    contrast = {"kind": "contrast", "severity": 5}
    assert "On corrupted images: {'kind': 'contrast'" in card(
        WEMoE(), "bundle", corruption=contrast
    )


def test_a_card_says_that_nothing_was_measured(
    make_model: Callable[[MergeMethod], ExportedModel], tmp_path: Path
) -> None:
    model = replace(make_model(WEMoE()), results=None)
    text = model_card(Manifest.of(model, "bundle", tmp_path), REPO, {}, 0.0)
    assert "## Results\n\nNot scored." in text
    assert "# WEMoE of tiny CLIP" in text


def test_the_recipe_is_the_exact_one(
    card: Card, make_model: Callable[[MergeMethod], ExportedModel]
) -> None:
    [recipe] = re.findall(r"```yaml\n(.*?)```", card(WEMoE(), "bundle"), re.DOTALL)
    assert yaml.safe_load(recipe) == make_model(WEMoE()).recipe


def test_no_folder_of_a_text_tower_is_told_either() -> None:
    source = {"source": "zero-shot, by /home/me/clip"}
    assert without_folders(source) == {"source": "zero-shot, by …/clip"}
    assert without_folders("~/clip") == "…/clip"
    assert without_folders("shipped:miniature") == "shipped:miniature"


def test_what_the_hub_reads_is_between_lines_of_dashes(card: Card) -> None:
    _, head, _ = card(TaskArithmetic(), "hf").split("---\n", 2)
    assert yaml.safe_load(head) == {
        "library_name": "transformers",
        "pipeline_tag": "image-classification",
        "tags": ["model-merging", "wemoe_pl"],
    }
