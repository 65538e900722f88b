"""The errors that `wemoe_pl` raises: one sentence that says what is wrong and what to do."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from errno import EMFILE, ENFILE


class WeMoEError(Exception):
    """Anything a user can put right: the command line prints it without a traceback."""


class ConfigError(WeMoEError):
    """A config, an option or the name of one is wrong."""


class CheckpointError(WeMoEError):
    """A file of weights is missing, damaged, or belongs to another model."""


class DataError(WeMoEError):
    """Images or their folder cannot be read."""


class HubError(WeMoEError):
    """The hub lacks something, withholds it, or sent it damaged."""


class UnreachableError(HubError):
    """Something is not in the hub's cache and cannot be fetched now."""


class MergeError(WeMoEError):
    """These models cannot be merged, or not by this method."""


# What torch puts before an error of a process that loads images, with the traceback there.
OF_LOADING = re.compile(r"Caught \w+ in DataLoader worker process .*\n[\w.]+Error: ", re.DOTALL)


def sentence_of(error: WeMoEError | OSError) -> str:
    """Return the sentence of an error, wherever it was raised.

    >>> sentence_of(FileNotFoundError(2, "No such file or directory", "a.png"))
    'a.png: No such file or directory.'
    """
    if isinstance(error, OSError) and error.errno in (EMFILE, ENFILE):
        return f"{error.strerror}: allow more, by `ulimit -n 4096`."
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}."
    return OF_LOADING.sub("", str(error)).strip() or type(error).__name__


FEW = 30  # of more valid names than these, only the nearest are named


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """The end of a sentence that names the nearest valid name and then all, if they are few.

    >>> did_you_mean("mnits", ["mnist", "dtd"])
    "Did you mean 'mnist'? Valid names: dtd, mnist."
    """
    names = sorted(candidates)
    nearest = get_close_matches(name, names, n=1)
    guess = f"Did you mean {nearest[0]!r}? " if nearest else ""
    if len(names) > FEW:
        return f"{guess}There are {len(names)} valid names, from {names[0]!r} to {names[-1]!r}."
    return f"{guess}Valid names: {', '.join(names) or 'none'}."


def at_least(least: int, name: str, value: int) -> int:
    """`value`, or a `ConfigError` when it is below `least`."""
    if value < least:
        raise ConfigError(f"{name} is {value}: give a number from {least}.")
    return value


def check_class_names(names: Iterable[object], owner: str, kind: type[WeMoEError]) -> None:
    """Raise an error of a kind if a class has an empty name, one of spaces alone, or no text.

    Args:
        names: of the classes, in label order.
        owner: whose they are, as the error says it.
        kind: of the error.

    >>> check_class_names(["cat", ""], "The head", ConfigError)
    Traceback (most recent call last):
    wemoe_pl.errors.ConfigError: The head has an empty name for class 1: give every class a name.
    """
    for label, name in enumerate(names):
        if not isinstance(name, str):
            raise kind(f"{owner} has {name!r} for class {label}: give every class a name, as text.")
        if not name.strip():
            raise kind(f"{owner} has an empty name for class {label}: give every class a name.")
