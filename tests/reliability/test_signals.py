"""SIGTERM and Ctrl-C end a run with what it has learned, and nothing half-written."""

import os
import random
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers.interrupted import STEPS, assert_nothing_lost, draw_nothing, kept_step, state_of
from helpers.processes import Running
from PIL import Image

from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.system.signals import REQUEST
from wemoe_pl.training.adapt import TestTimeAdaptation


def wait_at(hook: str, call: int, marker: Path) -> None:
    """Let the process wait for a signal at the n-th call of a hook."""
    draw_nothing()
    original, calls = getattr(TestTimeAdaptation, hook), 0

    def counted(self: TestTimeAdaptation, *args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            marker.touch()
            while REQUEST.signum is None:
                time.sleep(0.01)
        return original(self, *args)

    setattr(TestTimeAdaptation, hook, counted)


@pytest.mark.parametrize(
    ("number", "hook", "call", "workers", "kept"),
    [
        (signal.SIGTERM, "training_step", 6, 0, 6),
        (signal.SIGTERM, "training_step", 6, 2, 6),
        (signal.SIGINT, "training_step", 6, 2, 6),
        (signal.SIGINT, "validation_step", 2, 0, 15),
        (signal.SIGTERM, "validation_step", 2, 2, 15),
        (signal.SIGTERM, "test_step", 2, 2, STEPS),
        (signal.SIGINT, "test_step", 2, 0, STEPS),
        (signal.SIGINT, "build", 1, 0, None),
    ],
)
def test_a_signal_ends_a_fit_with_what_it_has_learned(
    job: list[str], out: Path, tmp_path: Path, number: signal.Signals, hook: str, call: int,
    workers: int, kept: int | None,
) -> None:  # fmt: skip
    command = ["fit", *job, "--data.num_workers", str(workers), "--out", str(out)]
    here = tmp_path / "here"
    with Running(command, tmp_path / "log", partial(wait_at, hook, call, here)) as run:
        assert run.wait_until(here.exists), run.output
        run.send(number, to_all=True)
        assert run.wait() == 128 + number, run.output
        assert not [process for process in run.others if "resource_tracker" not in process]
    stopped = f"wemoe-pl: Stopped by {number.name}; nothing was left half-written."
    path = RunFolder(out).last_checkpoint
    told = f" Step {kept} of {STEPS} is kept in {path}: the same command goes on"
    assert run.last_line == stopped + (f"{told} from there." if kept else "")
    assert "Traceback" not in run.output
    assert not (out / "results.json").exists()
    if kept:
        assert kept_step(out) == kept
    else:
        assert not RunFolder(out).last_checkpoint.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_at_once(
    job: list[str], out: Path, tmp_path: Path, number: signal.Signals
) -> None:
    command = ["fit", *job, "--out", str(out)]
    here = tmp_path / "here"
    with Running(command, tmp_path / "log", partial(stay_at, 6, here)) as run:
        assert run.wait_until(here.exists), run.output
        run.send(number)
        time.sleep(0.2)
        assert run.process.is_alive()
        run.send(number)
        assert run.wait() == 128 + number
    assert kept_step(out) == 4  # the interval's


def stay_at(step: int, marker: Path) -> None:
    """A step without end."""

    def stay(self: TestTimeAdaptation, batch: Any, batch_idx: int) -> Any:
        if batch_idx == step:
            marker.touch()
            while True:
                time.sleep(0.01)
        return original(self, batch, batch_idx)

    original = TestTimeAdaptation.training_step
    TestTimeAdaptation.training_step = stay  # type: ignore[method-assign]


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
def test_a_run_that_is_stopped_again_and_again_ends_as_one_that_never_was(
    seed: int, job: list[str], out: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    generator, command, stops = random.Random(seed), ["fit", *job, "--out", str(out)], 0
    while not (out / "results.json").exists():
        before = state_of(RunFolder(out).last_checkpoint)
        number = generator.choice([signal.SIGTERM, signal.SIGINT])
        with Running(command, tmp_path / f"{stops}.log", draw_nothing) as run:
            run.wait_until(lambda before=before: state_of(RunFolder(out).last_checkpoint) != before)  # type: ignore[misc]
            time.sleep(generator.uniform(0, 0.03))
            run.send(number)
            assert run.wait() in (128 + number, 0), run.output
        stops += 1
        assert stops < STEPS
    assert_nothing_lost(out, uninterrupted)


@pytest.mark.parametrize("command", ["test", "validate", "predict"])
def test_a_signal_ends_any_other_command_without_half_a_result(
    job: list[str], out: Path, tmp_path: Path, command: str
) -> None:
    Image.new("RGB", (28, 28)).save(tmp_path / "image.png")
    images = ("--data.images", str(tmp_path)) if command == "predict" else ()
    hook = {"test": "test_step", "validate": "validation_step", "predict": "predict_step"}[command]
    here, arguments = tmp_path / "here", [command, *job, *images, "--out", str(out)]
    with Running(arguments, tmp_path / "log", partial(wait_at, hook, 1, here)) as run:
        assert run.wait_until(here.exists), run.output
        run.send(signal.SIGTERM)
        assert run.wait() == 143, run.output
    assert run.last_line == "wemoe-pl: Stopped by SIGTERM; nothing was left half-written."
    assert not list(out.glob("*.csv")) + list(out.glob("*.json"))


class EndsTheProcess:
    """An object in whose destructor SIGTERM comes: what is raised there is dropped by Python."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


def end_in_a_destructor() -> None:
    """Let SIGTERM come in a destructor while the model is scored."""
    original = TestTimeAdaptation.test_step

    def scored(self: TestTimeAdaptation, *args: Any) -> Any:
        if REQUEST.signum is None:
            EndsTheProcess()
        return original(self, *args)

    TestTimeAdaptation.test_step = scored  # type: ignore[method-assign,assignment]


def test_a_signal_in_a_destructor_is_not_lost(job: list[str], out: Path, tmp_path: Path) -> None:
    command = ["fit", *job, "--out", str(out)]
    with Running(command, tmp_path / "log", end_in_a_destructor) as run:
        assert run.wait() == 143, run.output
    assert f" Step {STEPS} of {STEPS} is kept in " in run.last_line
    assert not (out / "results.json").exists()
