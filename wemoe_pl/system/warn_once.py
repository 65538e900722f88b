"""Warnings of what is so as long as a process lives are told once, however often it is found."""

import warnings
from functools import cache


@cache
def warn_once(sentence: str) -> None:
    """Warn of something, unless it was said before in this process.

    Python's own filter tells a warning again whenever any part of a program has changed a filter.
    """
    warnings.warn(sentence, stacklevel=2)
