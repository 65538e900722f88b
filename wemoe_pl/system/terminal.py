"""Print text safely: names of files and tasks from strangers cannot control the terminal.

Our errors, files and logs hold the true text. It is made harmless when it is printed: here, and on
the consoles of `console.py`.
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
    r"""Replace characters that control a terminal, turn the text direction or cannot be encoded.

    >>> harmless("a\x1b[2Jb")
    'a�[2Jb'
    """
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def say(*parts: object, file: TextIO | None = None, end: str = "\n") -> None:
    """Print as `print` does, but only harmless text.

    Args:
        parts: the parts to print, with blanks between them.
        file: the stream to print to; by default standard output.
        end: the text that follows.
    """
    text = harmless(" ".join(map(str, parts)))
    try:
        print(text, end=end, file=file or sys.stdout, flush=True)
    except BrokenPipeError:
        end_quietly()


def end_quietly() -> NoReturn:
    """End the program as is usual if nobody reads its output any more, as after `| head`."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (STDOUT, STDERR):
        if not takes_more(stream):
            os.dup2(nowhere, stream)  # Python writes there once more when it ends
    raise SystemExit(128 + signal.SIGPIPE)


def takes_more(stream: int) -> bool:
    """Return whether somebody still reads what is written to a stream of this process."""
    watched = select.poll()
    watched.register(stream, 0)
    return not any(event & (select.POLLERR | select.POLLNVAL) for _, event in watched.poll(0))


@contextmanager
def flushed_quietly() -> Iterator[None]:
    """Flush standard output after a block, and end the program quietly if nobody reads it."""
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:  # None if it was closed before
                sys.stdout.flush()
    except BrokenPipeError:
        if takes_more(STDOUT):
            raise
        end_quietly()


@cache
def guard_output() -> None:
    """Make all later warnings and log messages harmless, also those of libraries.

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
        with suppress(TypeError, ValueError):  # a library's own mistake, which logging reports
            record.msg, record.args = harmless(record.getMessage()), ()
        return record

    warnings.formatwarning = harmless_warning
    logging.setLogRecordFactory(harmless_record)
