"""A warning of ours is one sentence, and points to the line of the user's program that led to it.

The command line, which has no such line, prints the sentence alone: see `terminal.py`.
"""

import sys
import sysconfig
import warnings
from functools import cache
from pathlib import Path
from traceback import walk_stack
from types import FrameType


class WeMoEWarning(UserWarning):
    """Something that a user should know of, and that hinders nothing."""


OWN_FOLDER = str(Path(__file__).parents[1])
OF_LIBRARIES = (OWN_FOLDER, sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), "<frozen ")
FOLDERS_OF_LIBRARIES = frozenset(("site-packages", "dist-packages"))


def warn(sentence: str) -> None:
    """Warn of something, at the line of the program that uses this package or a library of it."""
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
    """Warn of something, unless it was said before in this process.

    Python's own filter tells a warning again whenever any part of a program has changed a filter.
    """
    warn(sentence)


def users_frame() -> FrameType:
    """The innermost call that is of no library; the outermost of all if there is none."""
    frames = [frame for frame, _ in walk_stack(sys._getframe(1))]
    return next((f for f in frames if not is_of_library(f.f_code.co_filename)), frames[-1])


def is_of_library(path: str) -> bool:
    """Is a file one of this package, of Python's own or of what is installed?

    >>> is_of_library(__file__), is_of_library("/home/me/merge.py"), is_of_library("<stdin>")
    (True, False, False)
    """
    return path.startswith(OF_LIBRARIES) or not FOLDERS_OF_LIBRARIES.isdisjoint(Path(path).parts)
