"""SIGTERM and Ctrl-C: a command ends at the next safe place, a fit when its step is whole.

No handler raises anything: the place in which it is called may be a destructor, in which Python
drops what is raised, or the middle of a library's own bookkeeping. A thread hears the signals, and
ends the process where the main thread does not do so itself.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import active_children
from select import select
from threading import Thread, current_thread, main_thread
from types import FrameType

from wemoe_pl.system.terminal import STDERR

ENDING = (signal.SIGTERM, signal.SIGINT)
LIFELINE = "WEMOE_PL_LIFELINE"  # the variable of a process that ends when its standard input does
PATIENCE = 2.0  # seconds in which the main thread comes to a safe place, or is ended where it is
# Seconds within which signals are one: `timeout` sends two, to a process and to its group.
TOGETHER = 0.02
NO_MORE = 0  # is written where the numbers of signals are, and is none
# What is left to do where a process ends at once, by whom it is left.
UNDOS: dict[object, Callable[[], object]] = {}


class Stopped(BaseException):
    """A signal has asked the command to end; no `except Exception` holds it up.

    Args:
        signum: the signal's number.
    """

    def __init__(self, signum: int):
        super().__init__(f"Stopped by {signal.Signals(signum).name}")
        self.signum = signum

    @property
    def status(self) -> int:
        """The exit status by which shells know the signal."""
        return 128 + self.signum

    @property
    def sentence(self) -> str:
        """The sentence for a user, who wonders what is left."""
        return f"{self}; nothing was left half-written."


class StopRequest:
    """Knows the signal that has asked this process to end, and whether that may wait.

    Attributes:
        signum: the signal's number; None if there was none.
        deferred: may it wait until `obey` is called, however long? A fit sets it while its steps
            are not whole.
        obeyed: is the process on its way to its end?
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what was asked."""
        self.signum: int | None = None
        self.deferred = self.obeyed = False

    def receive(self, signum: int) -> None:
        """Note the signal, unless another has come before."""
        self.signum = self.signum or signum

    def obey(self) -> None:
        """Raise `Stopped` if the process was asked to end: here a fit is ready for it."""
        if self.signum is not None:
            self.obeyed = True
            raise Stopped(self.signum)

    def obey_if_due(self) -> None:
        """Raise `Stopped` if the process was asked to end and need not wait: here it is safe."""
        if self.is_due:
            self.obey()

    @property
    def is_due(self) -> bool:
        """Say whether the process is to end at the next safe place."""
        return self.signum is not None and not (self.deferred or self.obeyed)


REQUEST = StopRequest()


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM and SIGINT end this block: by `Stopped` where it is safe, a second one at once.

    Where the block comes to no safe place within `PATIENCE`, the process ends without one.
    Processes that are forked in it, such as those that load images, leave Ctrl-C to their parent,
    by which they are ended.
    """
    if current_thread() is not main_thread():
        yield  # Python lets no other thread handle signals
        return
    owner = os.getpid()

    def note(signum: int, frame: FrameType | None) -> None:
        if os.getpid() == owner:
            REQUEST.receive(signum)
            expect_lost_children()
        elif signum != signal.SIGINT:
            die_of(signum)

    REQUEST.reset()
    before = {number: signal.signal(number, note) for number in ENDING}
    try:
        with listener():
            yield
        REQUEST.obey()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        REQUEST.reset()


@contextmanager
def listener() -> Iterator[None]:
    """Have a thread hear signals in a block, whatever the main thread is busy with."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    thread = Thread(target=listen, args=(reading,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.write(writing, bytes([NO_MORE]))
        thread.join()
        os.close(writing)
        os.close(reading)


def listen(pipe: int) -> None:
    """Note the first signal; end the process by a second, or when the first is not obeyed."""
    asked = None  # when
    while True:
        patience = None if REQUEST.signum is None else PATIENCE
        if not select([pipe], [], [], patience)[0]:
            if REQUEST.signum is not None and REQUEST.is_due:
                leave(REQUEST.signum)
            continue
        number = os.read(pipe, 1)[0]
        if number == NO_MORE:
            return
        if number not in ENDING:
            continue
        if asked is None:
            asked = time.monotonic()
            REQUEST.receive(number)
        elif time.monotonic() - asked > TOGETHER:
            leave(number)


def leave(signum: int) -> None:
    """End this process at once, wherever its main thread is."""
    for undo in reversed(UNDOS.values()):
        with suppress(Exception):
            undo()
    for child in active_children():
        child.kill()
    with suppress(Exception):
        stopped = Stopped(signum)
        if select([], [STDERR], [], 0)[1]:  # somebody takes it: nobody is waited for
            os.write(STDERR, f"wemoe-pl: {stopped.sentence}\n".encode())
    os._exit(128 + signum)


@contextmanager
def undone(undo: Callable[[], object]) -> Iterator[None]:
    """Call something when a block ends, be it that a signal ends the process within it."""
    key = object()
    UNDOS[key] = undo
    try:
        yield
    finally:
        del UNDOS[key]
        undo()


def end_with_lifeline() -> None:
    """End as by SIGTERM when standard input does, if who has started this process means it so.

    A signal would not do: it may come to a process that has been asked to end already, as all are
    by Ctrl-C, and a second one ends it at once.
    """
    if os.environ.pop(LIFELINE, ""):
        Thread(target=watch, args=(sys.stdin.fileno(),), daemon=True).start()


def watch(lifeline: int) -> None:
    """Wait until a pipe is closed, and ask this process to end, if nobody has yet."""
    os.read(lifeline, 1)
    if REQUEST.signum is None:
        os.kill(os.getpid(), signal.SIGTERM)


def expect_lost_children() -> None:
    """From here on, let processes that load images die in peace.

    torch raises an error for each, wherever this process is when it hears of it: in the middle of
    a save, or of its own end.
    """
    if current_thread() is main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def die_of(signum: int) -> None:
    """End this process as a signal does that nothing handles."""
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
    os._exit(128 + signum)  # as process 1, of a container, which signals do not end


def forget_pipe() -> None:
    """Keep the signals of a forked process from the thread that listens to its parent's."""
    with suppress(ValueError):  # of a fork that has no main thread, and so no handlers
        signal.set_wakeup_fd(-1)


os.register_at_fork(after_in_child=forget_pipe)
