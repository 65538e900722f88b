r"""File names as text that can be printed, written to tables, and read back.

A name is bytes to the system, and old archives have some that are no UTF-8. Such a byte is written
as `\xe9`, and so that no other name reads alike, a backslash as two.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

SHOWN_AT_MOST = 5
ESCAPE = re.compile(rb"\\(?:\\|x([0-9a-f]{2}))")


def printable(path: Path | str) -> str:
    r"""A path as text that every encoding of Unicode can hold.

    >>> printable(os.fsdecode(b"caf\xe9.png"))
    'caf\\xe9.png'
    >>> printable("café.png")
    'café.png'
    """
    encoded = os.fspath(path).replace("\\", "\\\\").encode("utf-8", "surrogateescape")
    return encoded.decode("utf-8", "backslashreplace")


def path_of(text: str) -> Path:
    r"""The path that `printable` has made a text of.

    >>> path_of(printable("a\\b.png")) == Path("a\\b.png")
    True
    """
    encoded = ESCAPE.sub(lambda found: unescaped(found[1]), os.fsencode(text))
    return Path(os.fsdecode(encoded))


def unescaped(digits: bytes | None) -> bytes:
    """The byte that two digits stand for; a backslash without any."""
    return b"\\" if digits is None else bytes.fromhex(digits.decode())


def name_some(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    listed = list(names)
    rest = len(listed) - SHOWN_AT_MOST
    return ", ".join(listed[:SHOWN_AT_MOST]) + (f" and {rest} more" if rest > 0 else "")
