"""Let the processes of a server end with their parent, however it ends, and not before it."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import connection, parent_process
from multiprocessing.managers import SyncManager
from threading import Thread

from wemoe_pl.system.signals import ENDING


def end_with_parent() -> None:
    """End this process as soon as the one that has started it has ended, even if by SIGKILL."""
    if parent_process() is not None:
        Thread(target=wait_for_parent, daemon=True).start()


def wait_for_parent() -> None:
    """Wait until the parent has ended, and end this process at once."""
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


class ParentWatch:
    """A parent watch ends the process that it is made in together with that process's parent."""

    def __init__(self) -> None:
        end_with_parent()


# A manager can be asked to make one. Its process would outlive a parent that was killed.
SyncManager.register("parent_watch", ParentWatch)


def leave_signals_to_parent() -> None:
    """Ignore the signals that end a program: a terminal sends Ctrl-C to every process of it."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold back signals that end a program; processes started in the block never get them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
