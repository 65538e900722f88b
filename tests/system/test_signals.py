"""A signal ends a command where it is, a fit when it is ready, and a second Ctrl-C at once."""

import os
import signal
from collections.abc import Iterator
from multiprocessing import get_context
from threading import Thread

import pytest

from wemoe_pl.system.signals import REQUEST, Stopped, stoppable


@pytest.fixture(autouse=True)
def nothing_asked() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    assert (REQUEST.signum, REQUEST.deferred) == (None, False)
    assert {number: signal.getsignal(number) for number in before} == before


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_command_at_once(number: signal.Signals, status: int) -> None:
    with pytest.raises(Stopped, match=f"Stopped by {number.name}") as stopped, stoppable():
        signal.raise_signal(number)
    assert stopped.value.status == status
    assert not isinstance(stopped.value, Exception)


def test_a_fit_is_ended_when_it_is_ready_by_what_came_first() -> None:
    with stoppable():
        REQUEST.deferred = True
        REQUEST.obey()
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Stopped) as stopped:
            REQUEST.obey()
    assert stopped.value.signum == signal.SIGINT


def send_to_self(*numbers: signal.Signals) -> None:
    """In a process of its own: ask it to end while it has to wait."""
    with stoppable():
        REQUEST.deferred = True
        for number in numbers:
            signal.raise_signal(number)
        os._exit(7)


@pytest.mark.parametrize(
    ("numbers", "status"),
    [
        ([signal.SIGTERM], 7),
        ([signal.SIGINT], 7),
        ([signal.SIGTERM, signal.SIGTERM], 7),
        ([signal.SIGINT, signal.SIGTERM], 7),
        ([signal.SIGINT, signal.SIGINT], -signal.SIGINT),
        ([signal.SIGTERM, signal.SIGINT], -signal.SIGINT),
    ],
)
def test_a_second_ctrl_c_ends_a_process_that_waits(
    numbers: list[signal.Signals], status: int
) -> None:
    process = get_context("fork").Process(target=send_to_self, args=numbers)
    process.start()
    process.join(60)
    assert process.exitcode == status


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
    assert process.exitcode == status


def test_where_no_signal_can_be_handled_the_block_is_run_all_the_same() -> None:
    ran = []

    def work() -> None:
        with stoppable():
            ran.append(True)

    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert ran
