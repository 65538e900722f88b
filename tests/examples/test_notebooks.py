"""The notebooks in `examples/` run from the first cell to the last, as the site shows them."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def test_there_are_three() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["demo", "own_models", "routing"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    assert cells[0]["cell_type"] == "markdown"
    assert all(not c["outputs"] for c in cells if c["cell_type"] == "code")
    assert len(cells) <= 14


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """The names of the module by which the site executes notebooks."""
    return runpy.run_path(str(ROOT / "docs" / "notebooks.py"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, script: dict[str, Any]) -> None:
    book = script["executed"](path.read_text("utf-8"), script["code_fingerprint"]())
    outputs = [o for c in book.cells if c.cell_type == "code" for o in c.outputs]
    assert all(c.execution_count for c in book.cells if c.cell_type == "code")
    shows_pictures = any("image/png" in output.get("data", {}) for output in outputs)
    assert shows_pictures or path.stem == "own_models"
    said = "".join(o.get("text", "") for o in outputs if o.get("name") == "stderr")
    assert "module(s) in eval mode" not in said
    assert "LeafSpec" not in said
