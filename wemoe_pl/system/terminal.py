"""Text on a terminal cannot steer it, whichever names strangers chose for files and tasks.

Errors, files and logs of ours hold the true text. It is made harmless where it is printed: here,
and on the consoles of `console.py`.
"""

import logging
import os
import select
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, NoReturn, TextIO

from wemoe_pl.system.warn import WeMoEWarning

STDOUT, STDERR = 1, 2


def harmless(text: str) -> str:
    r"""Replace what steers a terminal, turns the direction of writing or cannot be encoded.

    >>> harmless("a\x1b[2Jb")
    'a�[2Jb'
    """
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def say(*parts: object, file: TextIO | None = None, end: str = "\n") -> None:
    """Print as `print` does, and harmlessly.

    Args:
        parts: what is printed, with blanks between.
        file: where; by default standard output.
        end: what follows.
    """
    text = harmless(" ".join(map(str, parts)))
    try:
        print(text, end=end, file=file or sys.stdout, flush=True)
    except BrokenPipeError:
        end_quietly()


def end_quietly() -> NoReturn:
    """End as a program does of which nobody reads what it prints, as `head` after some lines."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (STDOUT, STDERR):
        if not takes_more(stream):
            os.dup2(nowhere, stream)  # Python writes there once more when it ends
    raise SystemExit(128 + signal.SIGPIPE)


def takes_more(stream: int) -> bool:
    """Is there still somebody who reads what is written to a stream of this process?"""
    watched = select.poll()
    watched.register(stream, 0)
    return not any(event & (select.POLLERR | select.POLLNVAL) for _, event in watched.poll(0))


@contextmanager
def flushed_quietly() -> Iterator[None]:
    """Write out, after a block, what was printed, and end it quietly where nobody reads that."""
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:  # which it is where it was closed before
                sys.stdout.flush()
    except BrokenPipeError:
        if takes_more(STDOUT):
            raise
        end_quietly()


@cache
def guard_output() -> None:
    """Let nothing that is warned of or logged from now on steer a terminal, whoever does it.

    A warning of ours becomes one line, without the line of a program that it would point to.
    """
    format_warning, make_record = warnings.formatwarning, logging.getLogRecordFactory()

    def harmless_warning(
        message: Warning | str, category: type[Warning], *args: Any, **options: Any
    ) -> str:
        if issubclass(category, WeMoEWarning):
            return harmless(f"wemoe-pl: warning: {message}\n")
        return harmless(format_warning(message, category, *args, **options))

    def harmless_record(*args: Any, **options: Any) -> logging.LogRecord:
        record = make_record(*args, **options)
        with suppress(TypeError, ValueError):  # a library's own mistake, of which logging tells
            record.msg, record.args = harmless(record.getMessage()), ()
        return record

    warnings.formatwarning = harmless_warning
    logging.setLogRecordFactory(harmless_record)
