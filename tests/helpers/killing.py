"""Commands that are killed again and again, at moments that a seed says."""

import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from helpers.processes import Change, Running


def kill_repeatedly(
    command: list[str],
    logs: Path,
    generator: random.Random,
    longest: float,
    kills: int,
    look: Callable[[], object],
    change: Change | None = None,
) -> int:
    """Kill a command at random moments, until that has been done so often or it has ended.

    Args:
        command: the arguments of `wemoe-pl`.
        logs: a folder for its outputs.
        generator: of the moments.
        longest: seconds within which it is killed.
        kills: how many.
        look: called after each, to see what it has left.
        change: made in its process.

    Returns:
        How many there were.
    """
    logs.mkdir(parents=True, exist_ok=True)
    for life in range(kills):
        with Running(command, logs / f"{life}.log", change) as run:
            run.process.join(generator.uniform(0, longest))
            run.send(signal.SIGKILL)
            status = run.wait()
        look()
        assert status in (0, -signal.SIGKILL), run.output
        if status == 0:
            return life
    return kills


def run_whole(command: list[str], log: Path, change: Change | None = None) -> float:
    """Run a command to its end; how many seconds it took."""
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with Running(command, log, change) as run:
        assert run.wait() == 0, run.output
    return time.monotonic() - began


def kill_until(count: int, kill_some: Callable[[int, int], int]) -> None:
    """Do something anew until so many kills were made.

    Args:
        count: of kills.
        kill_some: is given its number and how many kills are left; makes at least one of them.
    """
    number = 0
    while count > 0:
        count -= kill_some(number, count)
        number += 1


def copy_of(folder: Path, to: Path) -> Path:
    """A copy of a folder in the place of whatever is there."""
    shutil.rmtree(to, ignore_errors=True)
    return shutil.copytree(folder, to)


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder, by name."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
