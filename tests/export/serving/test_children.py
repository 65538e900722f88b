"""Processes end with their parent, even if it is killed, and not by signals meant for it."""

import os
import signal
import time
from collections.abc import Callable
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from multiprocessing.managers import SyncManager
from pathlib import Path

import pytest

from wemoe_pl.export.serving.children import (
    end_with_parent,
    leave_signals_to_parent,
    signals_held,
)

SPAWN = get_context("spawn")


def child(tell: Connection) -> None:
    """Say who one is, and sleep."""
    leave_signals_to_parent()
    end_with_parent()
    tell.send(os.getpid())
    time.sleep(300)


def with_child(tell: Connection) -> None:
    """Have a child."""
    SPAWN.Process(target=child, args=(tell,)).start()
    time.sleep(300)


def with_manager(tell: Connection) -> None:
    """Have a manager that watches."""
    manager = SyncManager()
    with signals_held():
        manager.start()
    manager.parent_watch()  # type: ignore[attr-defined]
    tell.send(manager._process.pid)  # type: ignore[attr-defined]
    time.sleep(300)


def is_there(pid: int) -> bool:
    """Whether a process runs: one that has ended may still wait to be noticed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("start", [with_child, with_manager])
def test_a_child_ignores_signals_and_ends_when_its_parent_is_killed(
    start: Callable[[Connection], None],
) -> None:
    hear, tell = Pipe(duplex=False)
    parent = SPAWN.Process(target=start, args=(tell,))
    parent.start()
    assert hear.poll(120)
    pid = hear.recv()
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(pid, number)
    assert parent.is_alive()
    time.sleep(0.2)
    assert is_there(pid)
    parent.kill()
    end = time.monotonic() + 60
    while is_there(pid):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_signals_are_held_back_only_in_the_block() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with signals_held():
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) >= {signal.SIGTERM, signal.SIGINT}
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_a_process_without_a_parent_of_its_kind_goes_on() -> None:
    end_with_parent()  # this process was started by no other of Python's
