"""Text on a terminal cannot steer it, whichever names strangers chose for files and tasks.

Errors, files and logs of ours hold the true text. It is made harmless where it is printed: here,
and on the consoles of `console.py`.
"""

import logging
import sys
import warnings
from contextlib import suppress
from functools import cache
from typing import Any, TextIO


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
    print(harmless(" ".join(map(str, parts))), end=end, file=file or sys.stdout, flush=True)


@cache
def guard_output() -> None:
    """Let nothing that is warned of or logged from now on steer a terminal, whoever does it."""
    format_warning, make_record = warnings.formatwarning, logging.getLogRecordFactory()

    def harmless_warning(*args: Any, **options: Any) -> str:
        return harmless(format_warning(*args, **options))

    def harmless_record(*args: Any, **options: Any) -> logging.LogRecord:
        record = make_record(*args, **options)
        with suppress(TypeError, ValueError):  # a library's own mistake, of which logging tells
            record.msg, record.args = harmless(record.getMessage()), ()
        return record

    warnings.formatwarning = harmless_warning
    logging.setLogRecordFactory(harmless_record)
