"""Every recipe of CONTRIBUTING.md is followed to the letter, in a copy of the project."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
RECIPES = re.split(r"^## (?=Add )", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE)[1:]
# A sentence that says which file, and perhaps which place in it, with the block of code behind it.
STEP = re.compile(
    r"^(?P<how>New file|In) `(?P<file>[^`]+)`"
    r"(?:, (?P<place>before|instead of) `(?P<anchor>[^`]+)`)?[^`]*?:\n\n```\w+\n(?P<text>.*?)```$",
    re.MULTILINE | re.DOTALL,
)
COMMANDS = re.compile(r"^```console\n(.*?)```$", re.MULTILINE | re.DOTALL)
FREE = ("tests/", "configs/")  # folders in which a recipe may touch any number of files


class Step(NamedTuple):
    """A file to write, or a text to put into a file."""

    file: str
    place: str | None
    anchor: str | None
    text: str


def steps_of(recipe: str) -> Iterator[Step]:
    for found in STEP.finditer(recipe):
        assert (found["how"] == "In") == (found["anchor"] is not None), found[0]
        yield Step(found["file"], found["place"], found["anchor"], found["text"])


def title_of(recipe: str) -> str:
    return recipe.partition("\n")[0]


def follow(step: Step, copy: Path) -> None:
    """Do what a step says."""
    path = copy / step.file
    if step.anchor is None:
        assert not path.exists()
        path.write_text(step.text)
        return
    before = path.read_text()
    assert before.count(step.anchor) == 1, step.anchor
    new = step.text + step.anchor if step.place == "before" else step.text.rstrip("\n")
    path.write_text(before.replace(step.anchor, new))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project without its history and what was built in it; large files are linked."""
    for name in ("wemoe_pl", "configs", "tests", "benchmarks", "docs"):
        shutil.copytree(
            ROOT / name, tmp_path / name, copy_function=link_or_copy,
            ignore=shutil.ignore_patterns("__pycache__", "*.pyc"),
        )  # fmt: skip
    for name in ("pyproject.toml", "conftest.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def link_or_copy(source: str, target: str) -> None:
    if source.endswith((".safetensors", ".png")):
        Path(target).symlink_to(source)
    else:
        shutil.copy(source, target)


def run(command: str, copy: Path) -> None:
    """Run a command of a recipe on the package of the copy."""
    program, *arguments = shlex.split(command)
    module = [*arguments] if program == "python" else ["-m", "wemoe_pl", *arguments]
    environment = os.environ | {"PYTHONPATH": str(copy), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, *module], cwd=copy, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_there_are_the_five_recipes() -> None:
    names = ["a merge method", "an objective", "a data set", "a form of checkpoints", "a metric"]
    assert [title_of(recipe) for recipe in RECIPES] == [f"Add {name}" for name in names]


@pytest.mark.parametrize("recipe", RECIPES, ids=title_of)
def test_a_recipe_touches_two_files_at_most(recipe: str) -> None:
    files = {step.file for step in steps_of(recipe)}
    assert 1 <= len([file for file in files if not file.startswith(FREE)]) <= 2
    assert any(file.startswith("tests/") for file in files)
    assert recipe.count("```") == 2 * (len([*steps_of(recipe)]) + len(COMMANDS.findall(recipe)))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=title_of)
def test_a_recipe_does_what_it_says(recipe: str, copy: Path) -> None:
    for step in steps_of(recipe):
        follow(step, copy)
    python = [str(copy / step.file) for step in steps_of(recipe) if step.file.endswith(".py")]
    for tool in (["ruff", "check"], ["ruff", "format", "--check"]):
        subprocess.run([sys.executable, "-m", *tool, *python], cwd=copy, check=True)
    [commands] = COMMANDS.findall(recipe)
    for command in commands.splitlines():
        run(command, copy)
