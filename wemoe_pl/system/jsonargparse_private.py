"""Use the private parts of jsonargparse, all in this module and each with a reason.

They were tried with jsonargparse 4.53.0. A test names the parts that another version changes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Union, get_args

from jsonargparse import ArgumentParser, set_parsing_settings
from jsonargparse._common import parsing_settings
from jsonargparse._optionals import _get_config_read_mode


@contextmanager
def restored_settings() -> Iterator[None]:
    """Restore, after a block, the settings that `set_parsing_settings` has changed in it.

    The settings belong to the whole process, and no public function reads them.
    """
    before, reads_urls = dict(parsing_settings), "s" in _get_config_read_mode()
    try:
        yield
    finally:
        parsing_settings.update(before)
        set_parsing_settings(config_read_mode_fsspec_enabled=reads_urls)


class NoPrograms(dict[str, bool]):
    """`NoPrograms` has the verdicts on names, and denies all names that have a part `__main__`.

    jsonargparse asks for the verdict on a name and then on its beginnings, before it imports
    anything. Its list of denied names cannot name the `__main__` modules of all packages.
    """

    def __contains__(self, path: object) -> bool:
        return is_program(str(path)) or super().__contains__(path)

    def __getitem__(self, path: str) -> bool:
        return not is_program(path) and super().__getitem__(path)


def is_program(path: str) -> bool:
    """Return whether a dotted name is a module that runs when it is imported, or is inside one.

    >>> is_program("wandb.__main__.Logger"), is_program("wandb.main")
    (True, False)
    """
    return "__main__" in path.split(".")


def deny_programs() -> None:
    """Forbid parsers to import modules that are made to be run."""
    parsing_settings["import_path_verdicts"] = NoPrograms(parsing_settings["import_path_verdicts"])


def subcommand_parsers(parser: ArgumentParser) -> dict[str, Any]:
    """Return the parsers of the sub-commands by name, which jsonargparse only lists in messages."""
    choices = (action.choices for action in parser._actions)
    return next((found for found in choices if isinstance(found, dict)), {})


def read_whole_numbers_first(parser: ArgumentParser) -> None:
    """Make all arguments that take an int or a float read 1 as an int.

    jsonargparse tries the types of a union one after the other. Their order is not always that of
    the annotation: `typing` takes `Optional[Union[int, float]]` and `Optional[Union[float, int]]`
    for one type, and returns the one that any library has made first. To Lightning, a limit of 1 is
    one batch, and a limit of 1.0 is all of them.
    """
    for action in parser._actions:
        kinds = get_args(getattr(action, "_typehint", None))
        if int in kinds and float in kinds:
            numbers = iter((int, float))
            ordered = (next(numbers) if kind in (int, float) else kind for kind in kinds)
            action._typehint = Union[tuple(ordered)]  # type: ignore[attr-defined]  # noqa: UP007
    for own in subcommand_parsers(parser).values():
        read_whole_numbers_first(own)
