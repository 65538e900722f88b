"""A notebook is executed once for the site and its test, and again if anything has changed."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CELL = {"cell_type": "code", "id": "one", "metadata": {}, "outputs": [], "source": "1 + 1"}
TEXT = json.dumps({"cells": [CELL], "metadata": {}, "nbformat": 4, "nbformat_minor": 4})


@pytest.fixture
def script(tmp_path: Path) -> dict[str, Any]:
    """The names of the module, which keeps what it has executed in a folder of the test."""
    names = runpy.run_path(str(ROOT / "docs" / "notebooks.py"))["executed"].__globals__
    names["KEPT"] = tmp_path / "kept"
    return names


def test_a_notebook_is_executed_again_only_if_text_or_code_have_changed(
    script: dict[str, Any],
) -> None:
    seen: list[object] = []
    script["execute"] = seen.append
    for code in ("one", "one", "two", "one"):
        assert script["executed"](TEXT, code).cells[0].source == "1 + 1"
    assert len(seen) == 2
    script["executed"](TEXT.replace("1 + 1", "1 + 2"), "one")
    assert len(seen) == 3


def test_a_notebook_that_fails_is_not_kept(script: dict[str, Any]) -> None:
    def fail(book: object) -> None:
        raise RuntimeError("a cell failed")

    script["execute"] = fail
    with pytest.raises(RuntimeError, match="a cell failed"):
        script["executed"](TEXT, "code")
    assert not script["KEPT"].exists()


def test_the_fingerprint_is_that_of_the_files(script: dict[str, Any]) -> None:
    before = script["code_fingerprint"]()
    assert script["code_fingerprint"]() == before
    assert {b"wemoe_pl/__init__.py", b"configs/adapt_miniature.yaml"} <= {*script["code_files"]()}
    assert script["digest"]([b"ab", b"c"]) != script["digest"]([b"a", b"bc"])
