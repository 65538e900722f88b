"""All private parts of jsonargparse that are used here, each with the reason.

They were tried with jsonargparse 4.53.0. A test names those that another version changes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jsonargparse import ArgumentParser, set_parsing_settings
from jsonargparse._common import parsing_settings
from jsonargparse._optionals import _get_config_read_mode


@contextmanager
def restored_settings() -> Iterator[None]:
    """Take back, after a block, what `set_parsing_settings` has changed in it.

    The settings are those of the process, and nothing public reads them.
    """
    before, reads_urls = dict(parsing_settings), "s" in _get_config_read_mode()
    try:
        yield
    finally:
        parsing_settings.update(before)
        set_parsing_settings(config_read_mode_fsspec_enabled=reads_urls)


class NoPrograms(dict[str, bool]):
    """The verdicts on names of which one part is `__main__`: none is allowed.

    jsonargparse asks for the verdict on a name and then on what it begins with, before it imports
    anything. Its list of names has no place for such a module of whatever package.
    """

    def __contains__(self, path: object) -> bool:
        return is_program(str(path)) or super().__contains__(path)

    def __getitem__(self, path: str) -> bool:
        return not is_program(path) and super().__getitem__(path)


def is_program(path: str) -> bool:
    """Is a dotted name that of a module which runs when it is imported, or of a part of one?

    >>> is_program("wandb.__main__.Logger"), is_program("wandb.main")
    (True, False)
    """
    return "__main__" in path.split(".")


def deny_programs() -> None:
    """Have parsers import no module that is made to be run."""
    parsing_settings["import_path_verdicts"] = NoPrograms(parsing_settings["import_path_verdicts"])


def subcommand_parsers(parser: ArgumentParser) -> dict[str, Any]:
    """The parsers of a parser's sub-commands by name, which it only lists in messages."""
    choices = (action.choices for action in parser._actions)
    return next((found for found in choices if isinstance(found, dict)), {})
