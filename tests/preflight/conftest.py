"""What tests of the preflight share: a folder with a small job of every kind in it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml

from wemoe_pl.cli.main import main

KEPT = Path(__file__).parents[1] / "kept" / "dotted_names"
Answer = tuple[int, str, str]


@pytest.fixture(autouse=True)
def no_progress() -> Iterator[None]:
    """`datasets` draws its bars where errors go."""
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite of four tasks with weights and images, `suite.yaml`, in the present folder."""
    shutil.copytree(KEPT, tmp_path / "job")
    monkeypatch.chdir(tmp_path / "job")
    return tmp_path / "job"


@pytest.fixture
def change(folder: Path) -> Callable[..., None]:
    """`change("experts", mnist="other.safetensors")`: another suite in `suite.yaml`."""

    def write(part: str, **values: Any) -> None:
        suite = yaml.safe_load((folder / "suite.yaml").read_text())
        for name, value in values.items():
            if part == "tasks":
                suite["tasks"][name]["init_args"] |= value
            else:
                suite[part][name] = value
        (folder / "suite.yaml").write_text(yaml.safe_dump(suite, sort_keys=False))

    return write


@pytest.fixture
def check(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """`check("--full")`: status, output and errors of the command on this suite."""

    def run(*options: str, config: str = "adapt_miniature") -> Answer:
        capsys.readouterr()
        status = main(["check", f"--config={config}", "--suite=suite.yaml", "--out=new", *options])
        return status, *capsys.readouterr()

    return run
