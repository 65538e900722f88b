"""Warn in one sentence, and point to the line of the user's program that led to the warning.

There is no such line if the command line is used, which prints the sentence alone: see
`terminal.py`.
"""

import sys
import sysconfig
import warnings
from functools import cache
from pathlib import Path
from traceback import walk_stack
from types import FrameType


class WeMoEWarning(UserWarning):
    """A `WeMoEWarning` is about something that a user should know, but that prevents nothing."""


OWN_FOLDER = str(Path(__file__).parents[1])
OF_LIBRARIES = (OWN_FOLDER, sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), "<frozen ")
FOLDERS_OF_LIBRARIES = frozenset(("site-packages", "dist-packages"))


def warn(sentence: str) -> None:
    """Warn of something, at the line of the user's program from which this package was called."""
    frame = users_frame()
    warnings.warn_explicit(
        sentence,
        WeMoEWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
        module=frame.f_globals.get("__name__"),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )


@cache
def warn_once(sentence: str) -> None:
    """Warn of something, unless the same sentence was said before in this process.

    Python's own filter repeats a warning whenever any part of a program has changed a filter.
    """
    warn(sentence)


def users_frame() -> FrameType:
    """Return the innermost call that is not in a library; the outermost call if all are."""
    frames = [frame for frame, _ in walk_stack(sys._getframe(1))]
    return next((f for f in frames if not is_of_library(f.f_code.co_filename)), frames[-1])


def is_of_library(path: str) -> bool:
    """Return whether a file belongs to this package, to Python or to an installed library.

    >>> is_of_library(__file__), is_of_library("/home/me/merge.py"), is_of_library("<stdin>")
    (True, False, False)
    """
    return path.startswith(OF_LIBRARIES) or not FOLDERS_OF_LIBRARIES.isdisjoint(Path(path).parts)
