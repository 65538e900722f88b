"""A run that is killed, at whatever moment, loses nothing: docs/reliability.md says how often."""

import random
import signal
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from interrupted import STEPS, assert_nothing_lost, draw_nothing, kept_step, state_of
from processes import Running

from wemoe_pl.runs.folder import RunFolder


def save_slowly() -> None:
    """A disk that takes a while, so that a process can be killed in the middle of a save."""
    draw_nothing()
    save = torch.save

    def slow(checkpoint: Any, file: Any) -> None:
        whole = BytesIO()
        save(checkpoint, whole)
        for start in range(0, whole.tell(), 4096):
            file.write(whole.getbuffer()[start : start + 4096])
            file.flush()
            time.sleep(0.002)

    torch.save = slow  # type: ignore[assignment]


def is_saving(out: Path) -> bool:
    return any(out.glob("checkpoints/.*.part*"))


def kill_at(moment: str, run: Running, out: Path, generator: random.Random) -> None:
    """Wait for a moment, then a little longer, and kill."""
    before = state_of(RunFolder(out).last_checkpoint)
    moments: dict[str, tuple[Callable[[], bool], float]] = {
        "starting": (lambda: True, 2.0),
        "stepping": (lambda: state_of(RunFolder(out).last_checkpoint) != before, 0.1),
        "saving": (lambda: is_saving(out), 0.01),
        "scoring": (lambda: "`max_steps" in run.output, 0.2),
    }
    reached, longest = moments[moment]
    run.wait_until(reached)
    time.sleep(generator.uniform(0, longest))
    run.send(signal.SIGKILL)
    run.wait()


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 21))]
)
def test_a_run_that_is_killed_ten_times_ends_as_one_that_never_was(
    seed: int, job: list[str], out: Path, uninterrupted: Path, tmp_path: Path,
    record_property: Any,
) -> None:  # fmt: skip
    generator = random.Random(seed)
    moments = ["saving", "saving", *generator.choices(["starting", "stepping", "saving"], k=7)]
    generator.shuffle(moments)
    command, torn = ["fit", *job, "--checkpoint.every_n_steps", "1", "--out", str(out)], 0
    for life, moment in enumerate([*moments, "scoring"]):
        step = kept_step(out) if RunFolder(out).last_checkpoint.is_file() else 0
        with Running(command, tmp_path / f"{life}.log", save_slowly) as run:
            kill_at(moment, run, out, generator)
            assert run.wait() in (-signal.SIGKILL, 0), run.output
        told = f"Going on from step {step} of {STEPS}: {RunFolder(out).last_checkpoint}"
        if step and "GPU available" in run.output:  # which is printed behind it
            assert told in run.output
        torn += is_saving(out)
    record_property("torn", torn)
    with Running(command, tmp_path / "last.log", draw_nothing) as run:
        assert run.wait() == 0, run.output
    assert_nothing_lost(out, uninterrupted)
