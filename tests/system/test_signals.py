"""A signal ends a command at a safe place, a fit when it is ready, and a second one at once."""

import gc
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from threading import Thread

import pytest

from wemoe_pl.system.files import atomic_write
from wemoe_pl.system.signals import LIFELINE, REQUEST, TOGETHER, Stopped, stoppable


@pytest.fixture(autouse=True)
def nothing_asked() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    assert (REQUEST.signum, REQUEST.deferred, REQUEST.obeyed) == (None, False, False)
    assert {number: signal.getsignal(number) for number in before} == before
    assert signal.set_wakeup_fd(-1) == -1


def be_stoppable(work: Callable[[], object]) -> None:
    """Do something that signals may end."""
    with stoppable():
        work()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_command_at_the_next_safe_place(
    number: signal.Signals, status: int
) -> None:
    passed = []

    def work() -> None:
        REQUEST.obey_if_due()
        signal.raise_signal(number)
        passed.append("where it came")
        REQUEST.obey_if_due()
        passed.append("a safe place")

    with pytest.raises(Stopped, match=f"Stopped by {number.name}") as stopped:
        be_stoppable(work)
    assert passed == ["where it came"]
    assert stopped.value.status == status
    assert not isinstance(stopped.value, Exception)


def test_a_command_that_comes_to_no_safe_place_any_more_ends_as_stopped() -> None:
    with pytest.raises(Stopped):
        be_stoppable(partial(signal.raise_signal, signal.SIGTERM))


def test_a_file_is_not_begun_by_a_process_that_is_asked_to_end(tmp_path: Path) -> None:
    def work() -> None:
        signal.raise_signal(signal.SIGTERM)
        with atomic_write(tmp_path / "note.txt"):
            raise AssertionError

    with pytest.raises(Stopped):
        be_stoppable(work)
    assert not list(tmp_path.iterdir())


def test_a_fit_is_ended_when_it_is_ready_by_what_came_first() -> None:
    def work() -> None:
        REQUEST.deferred = True
        REQUEST.obey()
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        REQUEST.obey_if_due()
        REQUEST.obey()

    with pytest.raises(Stopped) as stopped:
        be_stoppable(work)
    assert stopped.value.signum == signal.SIGINT


class Destroyed:
    """An object in whose destructor a signal comes."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


def in_a_destructor() -> None:
    Destroyed()


def in_a_callback() -> None:
    reference = weakref.ref({1}, lambda _: signal.raise_signal(signal.SIGTERM))
    assert reference() is None


def in_the_garbage() -> None:
    lost = Destroyed()
    lost.itself = lost  # type: ignore[attr-defined]
    del lost
    gc.collect()


def in_a_handler_of_everything() -> None:
    with suppress(BaseException):
        signal.raise_signal(signal.SIGTERM)


SWALLOWING = [in_a_destructor, in_a_callback, in_the_garbage, in_a_handler_of_everything]


@pytest.mark.parametrize("act", SWALLOWING, ids=lambda act: act.__name__)
def test_a_signal_is_not_lost_wherever_it_comes(act: Callable[[], None]) -> None:
    def work() -> None:
        act()
        REQUEST.obey_if_due()
        raise AssertionError

    with pytest.raises(Stopped):
        be_stoppable(work)


def status_of(work: Callable[[], object]) -> int | None:
    """The exit status of a forked process that does something, and then exits with 7."""

    def work_and_exit() -> None:
        work()
        os._exit(7)

    process = get_context("fork").Process(target=be_stoppable, args=(work_and_exit,))
    process.start()
    process.join(60)
    return process.exitcode


def send(numbers: list[signal.Signals], pause: float) -> None:
    """Send signals to this process, which may wait as long as it likes, and is busy after them."""
    REQUEST.deferred = True
    for number in numbers:
        os.kill(os.getpid(), number)
        time.sleep(pause)
    time.sleep(0.5)


@pytest.mark.parametrize(
    ("numbers", "status"),
    [
        ([signal.SIGTERM], 7),
        ([signal.SIGINT], 7),
        ([signal.SIGTERM, signal.SIGTERM], 143),
        ([signal.SIGINT, signal.SIGTERM], 143),
        ([signal.SIGINT, signal.SIGINT], 130),
        ([signal.SIGTERM, signal.SIGINT], 130),
    ],
)
def test_a_second_signal_ends_a_process_that_waits(
    numbers: list[signal.Signals], status: int
) -> None:
    assert status_of(partial(send, numbers, 3 * TOGETHER)) == status


def test_two_signals_at_one_instant_are_one() -> None:
    assert status_of(partial(send, [signal.SIGTERM, signal.SIGTERM], 0.0)) == 7


def test_a_process_that_comes_to_no_safe_place_ends_and_leaves_nothing(tmp_path: Path) -> None:
    def stay() -> None:
        with atomic_write(tmp_path / "weights") as temporary:
            temporary.write_text("half of it")
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)

    assert status_of(stay) == 143
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 7), (signal.SIGTERM, -signal.SIGTERM)]
)
def test_a_process_that_loads_images_leaves_ctrl_c_to_its_parent(
    number: signal.Signals, status: int
) -> None:
    def work() -> None:
        signal.raise_signal(number)
        os._exit(7)

    with stoppable():
        process = get_context("fork").Process(target=work)
        process.start()
        process.join(60)
        assert REQUEST.signum is None  # nor does the parent take it for its own
    assert process.exitcode == status


LIVES = """
import time
from wemoe_pl.system.signals import REQUEST, end_with_lifeline, stoppable
with stoppable():
    end_with_lifeline()
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
        REQUEST.obey_if_due()
"""


def test_a_process_with_a_lifeline_ends_with_it() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", LIVES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, LIFELINE: "stdin"},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    assert process.poll() is None
    _, said = process.communicate(timeout=60)
    assert b"Stopped by SIGTERM" in said


def test_where_no_signal_can_be_handled_the_block_is_run_all_the_same() -> None:
    ran = []

    def work() -> None:
        with stoppable():
            ran.append(True)

    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert ran
