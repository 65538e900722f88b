"""What we use of jsonargparse beyond its public parts is still as it was when that was tried."""

import inspect
from importlib import import_module
from typing import Any, Optional, Union

import jsonargparse
import pytest
from jsonargparse import ArgumentParser, set_parsing_settings

from wemoe_pl.system.jsonargparse_private import (
    read_whole_numbers_first,
    restored_settings,
    subcommand_parsers,
)


def changed(part: str) -> str:
    """The sentence for a part that another version has changed."""
    return (
        f"jsonargparse {jsonargparse.__version__} has changed {part}, on which wemoe_pl relies: "
        "look at wemoe_pl/system/jsonargparse_private.py, which says why and with which version."
    )


def test_the_settings_of_parsing_are_where_they_were() -> None:
    settings = getattr(import_module("jsonargparse._common"), "parsing_settings", None)
    assert isinstance(settings, dict), changed("where its settings are")
    known = {"instantiate_subclass_spec_in_any", "import_path_verdicts", "import_paths_enforced"}
    assert known <= settings.keys(), changed("its settings")
    mode = getattr(import_module("jsonargparse._optionals"), "_get_config_read_mode", None)
    assert mode is not None, changed("how configs are read")
    assert list(inspect.signature(mode).parameters) == [], changed("how configs are read")


@pytest.mark.parametrize("remote", [True, False])
def test_settings_are_taken_back(remote: bool) -> None:
    settings = import_module("jsonargparse._common").parsing_settings
    mode = import_module("jsonargparse._optionals")._get_config_read_mode
    before = dict(settings), mode()
    with restored_settings():
        set_parsing_settings(
            import_path_denylist=["*"],
            import_path_allowlist=["torch"],
            instantiate_subclass_spec_in_any=False,
            config_read_mode_fsspec_enabled=remote,
        )
        assert ("s" in mode()) == remote, changed("how it says that configs are read from URLs")
        assert dict(settings) != before[0]
    assert (dict(settings), mode()) == before, changed("what belongs to its settings")


def test_the_parsers_of_sub_commands_are_found() -> None:
    parser, inner = ArgumentParser(), ArgumentParser()
    assert subcommand_parsers(inner) == {}
    parser.add_subcommands().add_subcommand("fit", inner)
    assert subcommand_parsers(parser) == {"fit": inner}, changed("where sub-commands are")


@pytest.mark.parametrize(
    "hint",
    [Union[float, int], Optional[Union[float, int]], Union[float, int, str, None], int | float],  # noqa: UP007, UP045
)
def test_a_whole_number_is_read_as_one_whatever_the_order_of_the_types(hint: Any) -> None:
    parser, command = ArgumentParser(), ArgumentParser()
    for one in (parser, command):
        one.add_argument("--limit", type=hint, default=None)
    parser.add_subcommands(required=False).add_subcommand("fit", command)
    read_whole_numbers_first(parser)
    for text, value in (("1", 1), ("0.5", 0.5)):
        read = parser.parse_args([f"--limit={text}", "fit", f"--limit={text}"])
        for found in (read.limit, read.fit.limit):
            assert (found, type(found)) == (value, type(value)), changed("the types of arguments")
