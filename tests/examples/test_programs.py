"""The short programs in `examples/` run as they are, and come to what they promise."""

import ast
import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
LINES_OF_THE_USERS = 30


def lines_of(path: Path) -> int:
    """The lines of a program without its docstring, blank lines and what it imports."""
    tree = ast.parse(path.read_text())
    ours = [n for n in tree.body[1:] if not isinstance(n, ast.Import | ast.ImportFrom)]
    places = (range(node.lineno, (node.end_lineno or 0) + 1) for node in ours)
    text = path.read_text().splitlines()
    return sum(bool(text[line - 1].strip()) for lines in places for line in lines)


@pytest.mark.parametrize("name", ["own_training_loop", "own_images"])
def test_a_program_is_short(name: str) -> None:
    assert lines_of(EXAMPLES / f"{name}.py") <= LINES_OF_THE_USERS


@pytest.mark.slow
def test_an_own_training_loop_adapts(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "own_training_loop.py"))
    merged, adapted = (
        [float(figure) for figure in re.findall(r"\d\.\d+", line)]
        for line in capsys.readouterr().out.splitlines()
    )
    assert len(merged) == len(adapted) == 2
    assert sum(adapted) > sum(merged) + 0.1


@pytest.mark.slow
def test_own_images_are_adapted_to_and_the_model_is_kept(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / "own_images.py"))
    answers = capsys.readouterr().out.splitlines()[-3:]
    assert all(re.fullmatch(r"(svhn|cars) \S+ \d\.\d\d", answer) for answer in answers)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["merged", "routing.png"]
