"""Lock the folder of a run, so that one process writes at a time; a killed one holds no lock."""

import errno
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from filelock import BaseFileLock, FileLock, SoftFileLease, Timeout

from wemoe_pl.errors import WeMoEError
from wemoe_pl.system.files import told_of
from wemoe_pl.system.signals import REQUEST
from wemoe_pl.system.terminal import say

LOCK_PATIENCE = 120.0  # seconds to wait for a lock of another host
POLL = 0.5  # seconds between two attempts
LEASE = 30.0  # seconds that a lock lasts, unless renewed, on file systems without locks
# The errors by which file systems say that they have no locks.
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


class Holder(NamedTuple):
    """A holder is the process that holds a lock.

    Attributes:
        host: the name of the machine.
        pid: the number of the process.
        since: the time at which it took the lock; empty if that is not known.
    """

    host: str
    pid: int
    since: str

    @property
    def is_here(self) -> bool:
        """Return whether the holder is a process of this machine."""
        return self.host == socket.gethostname()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}{self.since and f', since {self.since}'}"


@contextmanager
def held(
    lock: Path, folder: Path, patience: float = LOCK_PATIENCE, patience_here: float = 0.0
) -> Iterator[None]:
    """Hold the lock of a folder while a block writes there.

    A killed process releases the lock, and so do processes that it has forked to load images.

    Args:
        lock: the file that is locked.
        folder: the folder that the block writes to, for messages.
        patience: the seconds to wait for a lock that another host holds.
        patience_here: the seconds to wait for a lock that another process of this host holds.

    Raises:
        WeMoEError: another process writes there, or the lock cannot be made.
    """
    with told_of(folder):
        lock.parent.mkdir(parents=True, exist_ok=True)
        taken = acquire(lock, folder, patience, patience_here)
    try:
        yield
    finally:
        let_go(taken, lock)


def acquire(lock: Path, folder: Path, patience: float, patience_here: float) -> BaseFileLock:
    """Take a lock, at once or when its holder has released it."""
    began, said = time.monotonic(), False
    while True:
        try:
            return try_to_take(lock)
        except Timeout:
            holder = holder_of(lock)
        waits = patience_here if holder is not None and holder.is_here else patience
        if time.monotonic() >= began + waits:
            by = holder or "another process"
            raise WeMoEError(
                f"{folder} is in use: {by} writes there. Wait until it has ended, or choose "
                "another --out."
            )
        if holder and not said:
            said = True
            say(
                f"{folder} is in use by {holder}: waiting up to {waits:.0f} seconds for it.",
                file=sys.stderr,
            )
        REQUEST.obey_if_due()
        time.sleep(POLL)


def try_to_take(path: Path) -> BaseFileLock:
    """Take a lock at once, or raise `Timeout` if another process holds it."""
    lock: BaseFileLock = FileLock(path, timeout=0, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        lock = SoftFileLease(path, lease_duration=LEASE, timeout=0, thread_local=False)
        lock.acquire()
        return lock
    path.write_text(json.dumps(Holder(socket.gethostname(), os.getpid(), now())))
    return lock


def let_go(taken: BaseFileLock, lock: Path) -> None:
    """Release a lock, and remove its file while nobody else can hold it."""
    if not isinstance(taken, SoftFileLease):  # a lease removes its own file
        with suppress(OSError):
            lock.unlink()
    taken.release()


def holder_of(lock: Path) -> Holder | None:
    """Return the holder of a lock; None while the file does not say yet who it is."""
    try:
        text = lock.read_text(encoding="utf-8")
    except OSError:
        return None
    with suppress(TypeError, ValueError):
        return Holder(*json.loads(text))
    facts = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)  # as in a lease
    if {"host", "pid"} <= facts.keys() and facts["pid"].isdecimal():
        return Holder(facts["host"], int(facts["pid"]), "")
    return None


def now() -> str:
    """Return the present time, as text for people."""
    return time_in_words(time.time())


def time_in_words(seconds: float) -> str:
    """Return a time in seconds since 1970 as date and time of day, for people."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(sep=" ", timespec="seconds")
