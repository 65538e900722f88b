"""A job of a few steps, to which nothing happens unless a test sees to it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.interrupted import OPTIONS, Fit, Outcome, draw_nothing
from helpers.killing import run_whole

from wemoe_pl.cli import main
from wemoe_pl.training.adapt import TestTimeAdaptation


@pytest.fixture(scope="session")
def job(tiny_suite_yaml: Path) -> list[str]:
    """The main job on the tiny suite, of a few steps."""
    return [
        "--config", "adapt_miniature", "--suite", str(tiny_suite_yaml),
        *(part for key, value in OPTIONS.items() for part in (f"--{key}", str(value))),
    ]  # fmt: skip


OTHER = ("--model.learning_rate", "0.5")


@pytest.fixture(scope="session")
def uninterrupted(job: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run to which nothing happened."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    run_whole(["fit", *job, "--out", str(folder)], folder / "log", draw_nothing)
    return folder


@pytest.fixture(scope="session")
def other_job(job: list[str]) -> list[str]:
    """The same job with another learning rate."""
    return [*job, *OTHER]


@pytest.fixture(scope="session")
def other(other_job: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of another config, to which nothing happened."""
    folder = tmp_path_factory.mktemp("other")
    run_whole(["fit", *other_job, "--out", str(folder)], folder / "log", draw_nothing)
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def fit(
    job: list[str], out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Fit:
    """`fit("--key", …)`: the job in this process; its status and errors."""
    monkeypatch.setattr("sys.argv", ["wemoe-pl"])
    monkeypatch.setattr("wemoe_pl.reporting.finishing.write_figures", lambda *_: [])

    def run(*options: str, command: str = "fit") -> Outcome:
        status = main.main([command, *job, "--out", str(out), *options])
        return status, capsys.readouterr().err

    return run


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`at_step(7, act)`: act when the batch behind step 7 is learned from."""

    def arrange(step: int, act: Callable[[], object]) -> None:
        original = TestTimeAdaptation.training_step

        def training_step(self: TestTimeAdaptation, batch: Any, batch_idx: int) -> Any:
            if self.trainer.global_step == step:
                monkeypatch.setattr(TestTimeAdaptation, "training_step", original)
                act()
            return original(self, batch, batch_idx)

        monkeypatch.setattr(TestTimeAdaptation, "training_step", training_step)

    return arrange
