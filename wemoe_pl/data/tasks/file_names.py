r"""Turn file names into text that can be printed, written to tables, and read back.

A file name is a sequence of bytes to the system, and old archives have names that are not UTF-8.
A byte that is not UTF-8 is written as `\xe9`, for example, and a backslash as two, so that no two
names give the same text.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

SHOWN_AT_MOST = 5
ESCAPE = re.compile(rb"\\(?:\\|x([0-9a-f]{2}))")


def printable(path: Path | str) -> str:
    r"""Return a path as text that every encoding of Unicode can hold.

    >>> printable(os.fsdecode(b"caf\xe9.png"))
    'caf\\xe9.png'
    >>> printable("café.png")
    'café.png'
    """
    encoded = os.fspath(path).replace("\\", "\\\\").encode("utf-8", "surrogateescape")
    return encoded.decode("utf-8", "backslashreplace")


def path_of(text: str) -> Path:
    r"""Return the path that `printable` has turned into a text.

    >>> path_of(printable("a\\b.png")) == Path("a\\b.png")
    True
    """
    encoded = ESCAPE.sub(lambda found: unescaped(found[1]), os.fsencode(text))
    return Path(os.fsdecode(encoded))


def unescaped(digits: bytes | None) -> bytes:
    """Return the byte of two hexadecimal digits, or a backslash if there are none."""
    return b"\\" if digits is None else bytes.fromhex(digits.decode())


def name_some(names: Iterable[str]) -> str:
    """Return the first few names, and the number of the others, as text."""
    listed = list(names)
    rest = len(listed) - SHOWN_AT_MOST
    return ", ".join(listed[:SHOWN_AT_MOST]) + (f" and {rest} more" if rest > 0 else "")
