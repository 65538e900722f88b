"""Handle SIGTERM and Ctrl-C: a command ends at the next safe place, a fit after a whole step.

No signal handler raises an exception: it may be called in a destructor, where Python drops what is
raised, or in the middle of a library's own bookkeeping. A thread listens for the signals as well,
and ends the process if the main thread does not end itself.
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
LIFELINE = "WEMOE_PL_LIFELINE"  # this variable makes a process end when its standard input does
PATIENCE = 2.0  # seconds for the main thread to come to a safe place, before it is ended anyway
# Signals within so many seconds count as one: `timeout` sends two, to a process and to its group.
TOGETHER = 0.02
NO_MORE = 0  # no signal has this number: it ends the listener
# The functions to call if the process ends at once, by a key for each block that needs one.
UNDOS: dict[object, Callable[[], object]] = {}


class Stopped(BaseException):
    """A `Stopped` means that a signal asked the command to end; `except Exception` lets it pass.

    Args:
        signum: the signal's number.
    """

    def __init__(self, signum: int):
        super().__init__(f"Stopped by {signal.Signals(signum).name}")
        self.signum = signum

    @property
    def status(self) -> int:
        """Return the exit status by which shells know the signal."""
        return 128 + self.signum

    @property
    def sentence(self) -> str:
        """Return the message for the user, which also says in what state the files are."""
        return f"{self}; nothing was left half-written."


class StopRequest:
    """A stop request records which signal has asked this process to end, and if that may wait.

    Attributes:
        signum: the signal's number; None if there was none.
        deferred: True if the end may wait until `obey` is called, however long. A fit sets it while
            its steps are not whole.
        obeyed: True if the process is already ending.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the signal, and whether it was deferred or obeyed."""
        self.signum: int | None = None
        self.deferred = self.obeyed = False

    def receive(self, signum: int) -> None:
        """Record the signal, unless another has come before."""
        self.signum = self.signum or signum

    def obey(self) -> None:
        """Raise `Stopped` if the process was asked to end, even if that is deferred."""
        if self.signum is not None:
            self.obeyed = True
            raise Stopped(self.signum)

    def obey_if_due(self) -> None:
        """Raise `Stopped` if the process is to end at a safe place; call this at safe places."""
        if self.is_due:
            self.obey()

    @property
    def is_due(self) -> bool:
        """Return whether the process is to end at the next safe place."""
        return self.signum is not None and not (self.deferred or self.obeyed)


REQUEST = StopRequest()


@contextmanager
def stoppable() -> Iterator[None]:
    """End a block on SIGTERM or SIGINT, by `Stopped` at a safe place; a second one acts at once.

    If the block comes to no safe place within `PATIENCE`, the process ends anyway. Processes
    that are forked in the block, such as those that load images, ignore Ctrl-C: their parent ends
    them.
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
    """Run a thread that listens for signals in a block, whatever the main thread is busy with."""
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
    """Record the first signal; end the process on a second one, or if the first is not obeyed."""
    asked = None  # the time of the first signal
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
        if select([], [STDERR], [], 0)[1]:  # this will not block
            os.write(STDERR, f"wemoe-pl: {stopped.sentence}\n".encode())
    os._exit(128 + signum)


@contextmanager
def undone(undo: Callable[[], object]) -> Iterator[None]:
    """Call a function when a block ends, even if a signal ends the process within the block."""
    key = object()
    UNDOS[key] = undo
    try:
        yield
    finally:
        del UNDOS[key]
        undo()


def end_with_lifeline() -> None:
    """End this process as on SIGTERM when its standard input ends, if its parent wants that.

    The parent cannot send a signal instead: Ctrl-C may have asked this process, like all others,
    to end already, and a second signal would end it at once.
    """
    if os.environ.pop(LIFELINE, ""):
        Thread(target=watch, args=(sys.stdin.fileno(),), daemon=True).start()


def watch(lifeline: int) -> None:
    """Wait until a pipe is closed, and ask this process to end, unless a signal already has."""
    os.read(lifeline, 1)
    if REQUEST.signum is None:
        os.kill(os.getpid(), signal.SIGTERM)


def expect_lost_children() -> None:
    """Prevent the errors of torch about data-loading processes that end from now on.

    torch raises one for each such process, wherever this process is when it learns of it: in the
    middle of a save, or of its own end.
    """
    if current_thread() is main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def die_of(signum: int) -> None:
    """End this process by a signal, in the same way as if no handler were set."""
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
    os._exit(128 + signum)  # signals do not end process 1 of a container


def forget_pipe() -> None:
    """Keep the signals of a forked process from the thread that listens for its parent."""
    with suppress(ValueError):  # a fork without a main thread has no handlers
        signal.set_wakeup_fd(-1)


os.register_at_fork(after_in_child=forget_pipe)
