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


def subcommand_parsers(parser: ArgumentParser) -> dict[str, Any]:
    """The parsers of a parser's sub-commands by name, which it only lists in messages."""
    choices = (action.choices for action in parser._actions)
    return next((found for found in choices if isinstance(found, dict)), {})
