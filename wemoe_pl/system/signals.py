"""SIGTERM and Ctrl-C: a command ends where it is, a fit when its step is whole."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


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


class StopRequest:
    """A request to end this process, and whether it may end at once.

    Attributes:
        signum: the signal that asked; None if none has.
        deferred: wait until `obey` is called, which a fit does when a step is whole.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self.deferred = False

    def obey(self) -> None:
        """Raise `Stopped` if the process was asked to end."""
        if self.signum is not None:
            raise Stopped(self.signum)

    def receive(self, signum: int) -> None:
        """Note the first signal; a second Ctrl-C ends the process at once."""
        again = self.signum is not None
        self.signum = self.signum or signum
        expect_lost_children()
        if again and signum == signal.SIGINT:
            die_of(signum)
        if not (again or self.deferred):
            self.obey()


REQUEST = StopRequest()
PARENT = "WEMOE_PL_PARENT"  # the variable that names the process without which this one ends
LOOK_AGAIN = 1.0  # seconds between two looks at it


def end_with_parent() -> None:
    """End as by SIGTERM when the process has gone that has started this one, if it is named."""
    parent = os.environ.pop(PARENT, "")
    if parent.isdecimal():
        threading.Thread(target=watch, args=(int(parent),), daemon=True).start()


def watch(parent: int) -> None:
    """Wait until this process has another parent, and ask it to end."""
    while os.getppid() == parent:
        time.sleep(LOOK_AGAIN)
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM and SIGINT raise `Stopped` in this block, at once or when a fit is ready for it.

    Processes that are forked in it, such as those that load images, leave Ctrl-C to their parent,
    by which they are ended.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python lets no other thread handle signals
        return
    owner = os.getpid()

    def handle(signum: int, frame: FrameType | None) -> None:
        if os.getpid() == owner:
            REQUEST.receive(signum)
        elif signum != signal.SIGINT:
            die_of(signum)

    REQUEST.signum, REQUEST.deferred = None, False
    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        REQUEST.signum, REQUEST.deferred = None, False


def expect_lost_children() -> None:
    """From here on, let processes that load images die in peace.

    torch raises an error for each, wherever this process is when it hears of it: in the middle of
    a save, or of its own end.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def die_of(signum: int) -> None:
    """End this process as a signal does that nothing handles."""
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
    os._exit(128 + signum)  # as process 1, of a container, which signals do not end
