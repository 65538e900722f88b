"""One process writes to a folder at a time, and a killed one is in nobody's way."""

import errno
import json
import multiprocessing
import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock

from wemoe_pl.errors import WeMoEError
from wemoe_pl.runs import lock as module
from wemoe_pl.runs.lock import Holder, held, holder_of

CONTEXT = multiprocessing.get_context("fork")


def hold(lock: Path, ready: Connection, forks: bool) -> None:
    """Hold a lock until killed, with a process that was forked meanwhile."""
    with held(lock, lock.parent):
        child = os.fork() if forks else -1
        if child == 0:
            time.sleep(60)
            os._exit(0)
        ready.send(child)
        time.sleep(60)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "runs" / ".a.lock"


def holding(lock: Path, forks: bool = False) -> tuple[Any, int]:
    """A process that holds a lock, and the number of what it has forked."""
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=hold, args=(lock, theirs, forks))
    process.start()
    return process, ours.recv()


def end(process: Any) -> None:
    process.kill()
    process.join()


def test_a_folder_in_use_is_refused_with_who_uses_it(lock: Path) -> None:
    process, _ = holding(lock)
    try:
        with (
            pytest.raises(
                WeMoEError,
                match=rf"a is in use: process {process.pid} on \S+, since \d+-\d+-\d+ \S+ writes "
                r"there\. Wait until it has ended, or choose another --out\.",
            ),
            held(lock, Path("a")),
        ):
            pass
    finally:
        end(process)


@pytest.mark.parametrize("kind", ["lock", "lease"])
@pytest.mark.parametrize("forks", [False, True])
def test_a_killed_process_holds_nothing_even_if_one_lives_on_that_it_forked(
    forks: bool, kind: str, lock: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "lease":
        request.getfixturevalue("without_locks")
    process, child = holding(lock, forks)
    end(process)
    try:
        with held(lock, Path("a")):
            pass
    finally:
        if forks:
            os.kill(child, signal.SIGKILL)


def test_nothing_is_left_behind(lock: Path) -> None:
    with held(lock, Path("a")):
        assert lock.is_file()
    assert not lock.exists()


def test_a_lock_held_by_another_host_is_waited_for_and_then_refused(
    lock: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock.parent.mkdir()
    with FileLock(lock):
        lock.write_text(json.dumps(Holder("node7", 12, "2026-11-28 12:00:00+00:00")))
        began = time.monotonic()
        with (
            pytest.raises(WeMoEError, match="process 12 on node7, since 2026-11-28 12:00:00"),
            held(lock, Path("a"), patience=1.0),
        ):
            pass
    assert time.monotonic() - began >= 1.0
    assert capsys.readouterr().err == (
        "a is in use by process 12 on node7, since 2026-11-28 12:00:00+00:00: waiting up to 1 "
        "seconds for it.\n"
    )


def test_a_lock_of_this_host_is_waited_for_where_that_is_asked_for(lock: Path) -> None:
    process, _ = holding(lock)
    end_later = CONTEXT.Process(target=kill_soon, args=(process.pid,))
    end_later.start()
    with held(lock, Path("a"), patience_here=60.0):
        pass
    end_later.join()
    process.join()


def kill_soon(pid: int) -> None:
    time.sleep(0.3)
    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that has none."""

    def refuse() -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    def no_lock(*_: Any, **__: Any) -> Any:
        return SimpleNamespace(acquire=refuse)

    monkeypatch.setattr(module, "FileLock", no_lock)


def test_where_there_are_no_locks_a_lease_is_taken_and_given_back(
    without_locks: None, lock: Path
) -> None:
    with held(lock, Path("a")):
        holder = holder_of(lock)
        assert holder is not None
        assert (holder.pid, holder.is_here) == (os.getpid(), True)
        with (
            pytest.raises(WeMoEError, match=f"in use: process {os.getpid()}"),
            held(lock, Path("a")),
        ):
            pass
    assert not lock.exists()


def test_a_lease_is_renewed_while_it_is_held(
    without_locks: None, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wemoe_pl.runs.lock.LEASE", 0.5)
    with held(lock, Path("a")):
        time.sleep(1.5)
        with (
            pytest.raises(WeMoEError, match=f"in use: process {os.getpid()}"),
            held(lock, Path("a")),
        ):
            pass


def test_who_holds_a_lock_is_not_known_before_it_is_written_down(lock: Path) -> None:
    assert holder_of(lock) is None
    lock.parent.mkdir()
    for contents in ("", "{}", "[1", "pid=x\nhost=y"):
        lock.write_text(contents)
        assert holder_of(lock) is None


def test_a_folder_in_which_no_lock_can_lie_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WeMoEError, match=r"Cannot write a: "), held(tmp_path / "file/l", Path("a")):
        pass
