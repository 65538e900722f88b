"""Processes that start at one instant in one folder: one runs, and all others know better."""

import re
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers.interrupted import assert_nothing_lost, draw_nothing
from helpers.killing import copy_of
from helpers.processes import CONTEXT, Running

from wemoe_pl.runs.session import Session

IN_USE = (
    r"wemoe-pl: {} is in use: process \d+ on \S+, since [-\d]+ \S+ writes there\. Wait until .*"
)
KNOWN = "Nothing was run: this run was finished"


def meet(barrier: Any) -> None:
    """Wait for all others in front of the lock."""
    draw_nothing()
    original = Session.enter

    def enter(self: Session, *args: Any, **options: Any) -> None:
        barrier.wait(120)
        original(self, *args, **options)

    Session.enter = enter  # type: ignore[method-assign]


def race(commands: Sequence[list[str]], logs: Path) -> list[Running]:
    """Run commands that look at their folder at one instant, to their ends."""
    logs.mkdir(parents=True, exist_ok=True)
    change = partial(meet, CONTEXT.Barrier(len(commands)))
    with ExitStack() as stack:
        runs = [
            stack.enter_context(Running(command, logs / f"{place}.log", change))
            for place, command in enumerate(commands)
        ]
        for run in runs:
            run.wait()
    return runs


def winner(runs: Sequence[Running], out: Path) -> int:
    """The place of the one that has run; of the others it is seen that each said why not."""
    won = []
    for place, run in enumerate(runs):
        assert "Traceback" not in run.output, run.output
        if run.wait() == 0 and KNOWN not in run.output:
            won.append(place)
        elif run.wait() != 0:
            assert run.wait() == 1
            assert re.fullmatch(IN_USE.format(re.escape(str(out))), run.last_line), run.output
            assert run.output.count("wemoe-pl:") == 1
    assert len(won) == 1
    return won[0]


SOAK = [(processes, workers, 10) for processes in (2, 3) for workers in ("0", "2")]


@pytest.mark.parametrize(
    ("processes", "workers", "rounds"),
    [(2, "2", 1), (3, "0", 1), *(pytest.param(*each, marks=pytest.mark.soak) for each in SOAK)],
)
def test_of_several_that_start_the_same_run_one_runs_it(
    processes: int, workers: str, rounds: int, job: list[str], out: Path, uninterrupted: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    command = ["fit", *job, "--data.num_workers", workers, "--out", str(out)]
    for number in range(rounds):
        shutil.rmtree(out, ignore_errors=True)
        winner(race([command] * processes, tmp_path / f"{number}"), out)
        assert_nothing_lost(out, uninterrupted)
        assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=pytest.mark.soak)])
@pytest.mark.parametrize("fresh", [False, True])
def test_of_two_different_runs_one_is_whole_and_the_other_refused(
    fresh: bool, rounds: int, job: list[str], other_job: list[str], out: Path,
    uninterrupted: Path, other: Path, tmp_path: Path,
) -> None:  # fmt: skip
    options = [*(["--fresh"] if fresh else []), "--out", str(out)]
    for number in range(rounds):
        shutil.rmtree(out, ignore_errors=True)
        if fresh:  # both are to replace a run
            copy_of(other, out)
        runs = race([["fit", *each, *options] for each in (job, other_job)], tmp_path / f"{number}")
        assert_nothing_lost(out, [uninterrupted, other][winner(runs, out)])
