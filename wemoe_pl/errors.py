"""Define the errors of `wemoe_pl`: each message says in a sentence what is wrong and what to do."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from errno import EMFILE, ENFILE


class WeMoEError(Exception):
    """A `WeMoEError` can be put right by a user: the command line prints it without a traceback."""


class ConfigError(WeMoEError):
    """A `ConfigError` means that a config, an option or the name of one is wrong."""


class CheckpointError(WeMoEError):
    """A `CheckpointError` means that a file of weights is missing, damaged or of another model."""


class DataError(WeMoEError):
    """A `DataError` means that images or their folder cannot be read."""


class HubError(WeMoEError):
    """A `HubError` means that the hub lacks something, denies access to it, or sent it damaged."""


class UnreachableError(HubError):
    """An `UnreachableError` means that the hub cannot be reached for what its cache lacks."""


class MergeError(WeMoEError):
    """A `MergeError` means that models cannot be merged, or not by the chosen method."""


# torch puts this before the message of an error from a data-loading process: a sentence, then the
# traceback in that process.
OF_LOADING = re.compile(r"Caught \w+ in DataLoader worker process .*\n[\w.]+Error: ", re.DOTALL)


def sentence_of(error: WeMoEError | OSError) -> str:
    """Return the message of an error as one sentence, in whichever process it was raised.

    >>> sentence_of(FileNotFoundError(2, "No such file or directory", "a.png"))
    'a.png: No such file or directory.'
    """
    if isinstance(error, OSError) and error.errno in (EMFILE, ENFILE):
        return f"{error.strerror}: allow more, by `ulimit -n 4096`."
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}."
    return OF_LOADING.sub("", str(error)).strip() or type(error).__name__


FEW = 30  # a message lists at most so many valid names


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Return the end of a message: the nearest valid name, then all valid names if they are few.

    >>> did_you_mean("mnits", ["mnist", "dtd"])
    "Did you mean 'mnist'? Valid names: dtd, mnist."
    >>> did_you_mean("MNIST", ["mnist", "dtd"])
    "Did you mean 'mnist'? Valid names: dtd, mnist."
    """
    names = sorted(candidates)
    alike = {candidate.casefold(): candidate for candidate in names}
    nearest = get_close_matches(name, names, n=1) or [
        alike[found] for found in get_close_matches(name.casefold(), alike, n=1)
    ]
    guess = f"Did you mean {nearest[0]!r}? " if nearest else ""
    if len(names) > FEW:
        return f"{guess}There are {len(names)} valid names, from {names[0]!r} to {names[-1]!r}."
    return f"{guess}Valid names: {', '.join(names) or 'none'}."


def at_least(least: int, name: str, value: int) -> int:
    """Return `value`; raise `ConfigError` if it is below `least`."""
    if value < least:
        raise ConfigError(f"{name} is {value}: give a number from {least}.")
    return value


def check_class_names(names: Iterable[object], owner: str, kind: type[WeMoEError]) -> None:
    """Raise an error if the name of a class is empty, consists of spaces, or is no text.

    Args:
        names: the names of the classes, in label order.
        owner: the owner of the classes, with which the error message begins.
        kind: the class of the error.

    >>> check_class_names(["cat", ""], "The head", ConfigError)
    Traceback (most recent call last):
    wemoe_pl.errors.ConfigError: The head has an empty name for class 1: give every class a name.
    """
    for label, name in enumerate(names):
        if not isinstance(name, str):
            raise kind(f"{owner} has {name!r} for class {label}: give every class a name, as text.")
        if not name.strip():
            raise kind(f"{owner} has an empty name for class {label}: give every class a name.")
