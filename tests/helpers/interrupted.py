"""What a run has left that was interrupted, beside one to which nothing happened."""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from wemoe_pl.reporting import finishing
from wemoe_pl.runs.checkpoint import read_checkpoint
from wemoe_pl.runs.folder import RunFolder, RunState

STEPS = 40
OPTIONS = {
    "trainer.max_steps": STEPS, "trainer.val_check_interval": 15, "trainer.log_every_n_steps": 2,
    "trainer.enable_progress_bar": "false", "trainer.deterministic": "false",
    "data.batch_size": 4, "checkpoint.every_n_steps": 4, "model.references": "false",
}  # fmt: skip
SPEED = "train/images_per_second"
# The checkpoint is named by a hash of its file, of which `seconds` are a part.
OF_THE_CLOCK = ("seconds", "command", "revision", "finished", "checkpoint")

Outcome = tuple[int, str]
Fit = Callable[..., Outcome]


def draw_nothing() -> None:
    """Pictures take longer than all the rest."""
    finishing.write_figures = lambda *_: []  # type: ignore[attr-defined]


def learned(out: Path) -> dict[str, torch.Tensor]:
    """The routers."""
    weights: dict[str, torch.Tensor] = read_checkpoint(RunFolder(out).last_checkpoint)["state_dict"]
    return weights


def kept_step(out: Path) -> int:
    """The step that is kept."""
    return int(read_checkpoint(RunFolder(out).last_checkpoint)["global_step"])


def curves(out: Path) -> list[list[str]]:
    """`metrics.csv`, without what a clock says."""
    header, *lines = (line.split(",") for line in (out / "logs/metrics.csv").read_text().split())
    column = header.index(SPEED)
    return [cells[:column] + cells[column + 1 :] for cells in (header, *lines)]


def results(out: Path) -> dict[str, Any]:
    """`results.json`, without what a clock says."""
    contents = json.loads((out / "results.json").read_text())
    return {key: value for key, value in contents.items() if key not in OF_THE_CLOCK}


def assert_nothing_lost(out: Path, uninterrupted: Path, but: Iterable[Path] = ()) -> None:
    """All that a run leaves is as if nothing had happened, and nothing more but some folders."""
    assert_consistent(out)
    torch.testing.assert_close(learned(out), learned(uninterrupted), rtol=0, atol=0)
    assert curves(out) == curves(uninterrupted)
    assert results(out) == results(uninterrupted)
    assert names(out, but) == names(uninterrupted)


def names(out: Path, but: Iterable[Path] = ()) -> set[str]:
    """What lies in a folder, without what tests and sweeps write there."""
    excluded = [out / name for name in ("log", "log.txt", "command.json")] + list(but)
    return {
        path.relative_to(out).as_posix()
        for path in out.rglob("*")
        if not any(path.is_relative_to(each) for each in excluded)
    }


def assert_consistent(out: Path) -> None:
    """Whatever a killed process has left: results were scored with the checkpoint beside them."""
    folder = RunFolder(out)
    assert folder.state is not RunState.FOREIGN
    if folder.results.is_file():
        scored = json.loads(folder.results.read_text())["checkpoint"]
        weights = folder.last_checkpoint.read_bytes()
        assert scored["sha256"] == hashlib.sha256(weights).hexdigest()
        assert scored["step"] == kept_step(out)


def state_of(path: Path) -> int:
    return path.stat().st_mtime_ns if path.is_file() else 0


def raising(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


def kept(step: int, out: Path) -> str:
    place = f"Step {step} of {STEPS} is kept in {RunFolder(out).last_checkpoint}"
    return f" {place}: the same command goes on from there.\n"
