"""docs/methods.md is what its script makes of the code, the configs and the published figures."""

import inspect
from pathlib import Path
from typing import Any

import pytest
from helpers.benchmark_scripts import names_of

import wemoe_pl
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.reporting.published import published_rows

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """The names of the script that makes the page."""
    return names_of("methods_page.py")


def test_the_page_is_what_the_script_makes(script: dict[str, Any]) -> None:
    text = script["DOCUMENT"].read_text("utf-8")
    assert script["filled"](text) == text, "Run `make methods`."


def test_every_merge_method_has_a_row(script: dict[str, Any]) -> None:
    classes = [getattr(wemoe_pl, name) for name in wemoe_pl.__all__]
    public = {c for c in classes if inspect.isclass(c) and issubclass(c, MergeMethod)}
    methods = {type(script["method_of"](entry.config)) for entry in script["all_entries"]()}
    assert methods == {kind for kind in public if not inspect.isabstract(kind)}


def test_every_name_of_a_published_method_is_one(script: dict[str, Any]) -> None:
    published = {row.method for row in published_rows("CLIP ViT-B/32", "eight tasks")}
    assert {name for entry in script["ENTRIES"] for name in entry.published} <= published


@pytest.mark.parametrize(
    ("config", "needs", "stored"),
    [
        ("iso_c", "nothing", "0"),
        ("fisher", "training images, labelled", "0"),
        ("adamerging_task_wise", "test images, no labels", "0"),
        ("individual", "the task of every image", "7.00"),
        ("emr", "the task of every image", "1.25"),  # a task vector, and a bit for each of eight
        ("t_switch", "the task of every image", "0.50"),  # two bits for each of eight
    ],
)
def test_what_a_method_needs_and_stores_follows_from_its_class(
    config: str, needs: str, stored: str, script: dict[str, Any]
) -> None:
    method = script["method_of"](config)
    assert (script["needs"](method), script["stored"](method)) == (needs, stored)


def test_means_are_read_from_the_table_of_methods_alone(script: dict[str, Any]) -> None:
    table = "| method | a | mean | other |\n| --- | --- | --- | --- |\n| X | 1 | **2 ± 1** | 3 |\n"
    text = f"| Y | 1 |\n<!-- table: methods -->\n\n{table}\n<!-- end of table -->\n| Z | 1 | 4 |"
    assert script["miniature_means"](text) == {"X": "2 ± 1"}
