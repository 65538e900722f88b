"""A run that is killed, at whatever moment, loses nothing: docs/reliability.md says how often."""

import random
import shutil
import signal
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.interrupted import (
    STEPS,
    assert_consistent,
    assert_nothing_lost,
    draw_nothing,
    kept_step,
    results,
    state_of,
)
from helpers.killing import contents, copy_of, run_whole
from helpers.processes import Running

from wemoe_pl.runs import replacing
from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.runs.replacing import old_place, waiting_place


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


def replace_slowly() -> None:
    """A disk on which every step of a replacement takes a while."""
    draw_nothing()

    def slowly(act: Callable[..., Any]) -> Callable[..., Any]:
        def slow(*args: Any, **options: Any) -> Any:
            time.sleep(0.1)
            return act(*args, **options)

        return slow

    acts = [(replacing, "exchange"), (replacing, "put_in_place"), (replacing, "keep_others_files")]
    for owner, name in [*acts, (shutil, "rmtree")]:
        setattr(owner, name, slowly(getattr(owner, name)))


def is_saving(folder: RunFolder) -> bool:
    return any(folder.checkpoints.glob(".*.part*"))


def is_replacing(folder: RunFolder) -> bool:
    """Is a run that `--fresh` has built about to take its place, or doing so?"""
    places = (folder.next.results, waiting_place(folder), old_place(folder))
    return any(place.exists() for place in places)


def kill_at(moment: str, run: Running, folder: RunFolder, generator: random.Random) -> int:
    """Wait for a moment, then a little longer, and kill; the exit status."""
    last = [folder.last_checkpoint, folder.next.last_checkpoint]
    before = [state_of(path) for path in last]
    moments: dict[str, tuple[Callable[[], bool], float]] = {
        "starting": (lambda: True, 2.0),
        "stepping": (lambda: [state_of(path) for path in last] != before, 0.1),
        "saving": (lambda: is_saving(folder), 0.01),
        "scoring": (lambda: "`max_steps" in run.output, 0.2),
        "replacing": (lambda: is_replacing(folder), 0.6),
    }
    reached, longest = moments[moment]
    run.wait_until(reached)
    run.process.join(generator.uniform(0, longest))
    run.send(signal.SIGKILL)
    status = run.wait()
    assert status in (-signal.SIGKILL, 0), run.output
    return status


def few_and_many(*few: tuple[int, ...], many: list[tuple[int, ...]]) -> list[Any]:
    """Parameters of which most are for `make soak`."""
    return [*few, *(pytest.param(*values, marks=pytest.mark.soak) for values in many)]


@pytest.mark.parametrize(
    ("seed", "workers", "kills"),
    few_and_many(
        (0, 0, 4),
        (0, 2, 4),
        many=[(seed, workers, 10) for seed in range(1, 16) for workers in (0, 2)],
    ),
)
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_never_was(
    seed: int, workers: int, kills: int, job: list[str], out: Path, uninterrupted: Path,
    tmp_path: Path, record_property: Any,
) -> None:  # fmt: skip
    generator, folder = random.Random(f"{seed} {workers}"), RunFolder(out)
    some = generator.choices(["starting", "stepping", "saving"], k=kills - 3)
    moments = ["saving", "saving", *some]
    generator.shuffle(moments)
    options = ["--checkpoint.every_n_steps", "1", "--data.num_workers", str(workers)]
    command, torn = ["fit", *job, *options, "--out", str(out)], 0
    for life, moment in enumerate([*moments, "scoring"]):
        step = kept_step(out) if folder.last_checkpoint.is_file() else 0
        with Running(command, tmp_path / f"{life}.log", save_slowly) as run:
            kill_at(moment, run, folder, generator)
        assert_consistent(out)
        assert "in use" not in run.output  # those that load images may live a little longer
        told = f"Going on from step {step} of {STEPS}: {folder.last_checkpoint}"
        if step and kept_step(out) > step:  # which is saved behind it
            assert told in run.output
        torn += is_saving(folder)
    record_property("torn", torn)
    run_whole(command, tmp_path / "last.log", draw_nothing)
    assert_nothing_lost(out, uninterrupted)


@pytest.mark.parametrize(
    ("seed", "kills"), few_and_many((0, 3), many=[(seed, 10) for seed in range(1, 6)])
)
def test_a_run_is_as_it_was_until_the_one_has_finished_that_replaces_it(
    seed: int, kills: int, job: list[str], out: Path, uninterrupted: Path, other: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    generator, folder = random.Random(seed), RunFolder(copy_of(other, out))
    (out / "notes.txt").write_text("mine")
    command, old, new = ["fit", *job, "--fresh", "--out", str(out)], contents(out), False
    moments = generator.choices(["starting", "stepping", "stepping"], k=kills - 1)
    for life, moment in enumerate([*moments, "replacing"]):
        with Running(command, tmp_path / f"{life}.log", replace_slowly) as run:
            kill_at(moment, run, folder, generator)
        assert_consistent(out)
        left = {name: b for name, b in contents(out).items() if not name.startswith(".next/")}
        new = new or left != old
        if new:
            assert results(out) == results(uninterrupted)
    run_whole(command, tmp_path / "last.log", draw_nothing)
    assert (out / "notes.txt").read_text() == "mine"
    assert_nothing_lost(out, uninterrupted, but=[out / "notes.txt"])


LONGER = ("--ckpt_path", "last", "--trainer.max_steps", str(STEPS + 20))


@pytest.fixture(scope="session")
def extended(job: list[str], uninterrupted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that went on for some steps when it had finished, to which nothing happened."""
    folder = copy_of(uninterrupted, tmp_path_factory.mktemp("extended"))
    run_whole(["fit", *job, *LONGER, "--out", str(folder)], folder / "log", draw_nothing)
    assert kept_step(folder) == STEPS + 20
    return folder


@pytest.mark.parametrize(
    ("seed", "kills"), few_and_many((0, 3), many=[(seed, 10) for seed in range(1, 6)])
)
def test_an_extension_that_is_killed_ends_as_one_that_never_was(
    seed: int, kills: int, job: list[str], out: Path, uninterrupted: Path, extended: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    generator, folder = random.Random(seed), RunFolder(copy_of(uninterrupted, out))
    command = ["fit", *job, *LONGER, "--checkpoint.every_n_steps", "1", "--out", str(out)]
    moments = generator.choices(["starting", "stepping", "saving"], k=kills)
    for life, moment in enumerate(moments):
        with Running(command, tmp_path / f"{life}.log", save_slowly) as run:
            kill_at(moment, run, folder, generator)
        assert_consistent(out)
    run_whole(command, tmp_path / "last.log", draw_nothing)
    assert_nothing_lost(out, extended)
