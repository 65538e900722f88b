"""The reference has a picture wherever one is announced, and a text for those who do not see it."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """The names of the module that draws the plots."""
    return runpy.run_path(str(DOCS / "plots.py"))


@pytest.mark.usefixtures("drawn_figures")
def test_every_plot_writes_a_picture(script: dict[str, Any], tmp_path: Path) -> None:
    script["write_plots"](tmp_path)
    written = {path.stem: path.read_text("utf-8") for path in tmp_path.iterdir()}
    assert set(written) == set(script["PLOTS"])
    assert all("<svg" in text and "<path" in text for text in written.values())


def test_every_picture_has_its_texts(script: dict[str, Any]) -> None:
    pictures = yaml.safe_load((DOCS / "pictures.yaml").read_text("utf-8"))
    assert {name for name, texts in pictures.items() if "file" not in texts} == {*script["PLOTS"]}
    assert all({"instead", "caption"} <= set(texts) for texts in pictures.values())


def test_a_merged_vector_is_what_the_method_adds(script: dict[str, Any]) -> None:
    import torch

    import wemoe_pl

    base, ones = torch.zeros(2, 3), torch.ones(2, 3)
    added = script["merged_vector"](wemoe_pl.TaskArithmetic(0.5), base + 9, [ones + 9, ones + 10])
    assert added.allclose(1.5 * ones)
