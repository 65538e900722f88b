"""The names of the commands, the options that they share, and how these are read."""

import pytest

from wemoe_pl.cli.job import WeMoECLI
from wemoe_pl.cli.options import (
    COMMANDS,
    SUBCOMMANDS,
    VERBS,
    OneSentence,
    Option,
    flatten,
    values_of,
    wrong_command,
)
from wemoe_pl.errors import ConfigError


def test_every_command_is_of_one_kind_and_listed_once() -> None:
    assert [*COMMANDS] == [*SUBCOMMANDS, *VERBS, "completion"]


def test_lightning_has_the_commands_with_a_trainer() -> None:
    assert set(SUBCOMMANDS) == set(WeMoECLI.subcommands())


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_described_in_one_sentence_of_one_line(command: str) -> None:
    about = COMMANDS[command]
    assert about[0].isupper()
    assert about.endswith(".")
    assert "\n" not in about
    assert len(f"  {command:22}{about}") <= 110


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("fti", "fit"), ("sweeep", "sweep"), ("reprot", "report"), ("completions", "completion")],
)
def test_a_wrong_command_is_answered_with_the_nearest_and_all_others(
    name: str, nearest: str
) -> None:
    answer = wrong_command(name)
    assert answer.startswith(f"There is no command '{name}'. Did you mean '{nearest}'? ")
    assert answer.endswith(f"Valid names: {', '.join(sorted(COMMANDS))}.")


def test_a_name_that_is_near_to_none_is_answered_with_all() -> None:
    assert wrong_command("zzz").startswith(
        "There is no command 'zzz'. Valid names: advise, bench, "
    )


def test_a_missing_command_is_asked_for() -> None:
    assert wrong_command() == f"Give a command: {', '.join(COMMANDS)}."


def test_an_error_names_the_option_and_where_help_is() -> None:
    parser = OneSentence(prog="wemoe-pl report")
    parser.add_argument("--format", choices=("csv", "latex"))
    parser.add_argument("--seeds", type=int)
    with pytest.raises(ConfigError, match=r"--seeds: invalid int .*See wemoe-pl report --help"):
        parser.parse_args(["--seeds", "word"])
    with pytest.raises(
        ConfigError,
        match=r"^--format: there is no 'latx'\. Did you mean 'latex'\? Valid names: csv, latex\.$",
    ):
        parser.parse_args(["--format", "latx"])


def test_a_parser_tells_its_options_by_all_their_names() -> None:
    parser = OneSentence(add_help=False)
    parser.add_argument("folder")
    action = parser.add_argument("-o", "--out")
    assert parser.options == {"-o": action, "--out": action}


@pytest.mark.parametrize(
    ("default", "told"),
    [(None, "Of the run."), ([], "Of the run."), ("runs", "Of the run. (default: runs)")],
)
def test_an_option_tells_its_default_if_there_is_one(default: object, told: str) -> None:
    assert Option("Of the run.", default=default).help_and_default == told


@pytest.mark.parametrize(
    ("args", "values"),
    [
        ([], []),
        (["--config"], []),
        (["--config", "a", "--config=b", "-c", "c"], ["a", "b", "c"]),
        (["--config=a=b"], ["a=b"]),
        (["--configs", "a", "--out", "--config"], []),
        (["--grid", "config=a"], []),
    ],
)
def test_the_values_of_an_option_are_found_in_all_its_forms(
    args: list[str], values: list[str]
) -> None:
    assert values_of(args, "-c", "--config") == values


def test_settings_are_told_apart_by_dotted_keys_down_to_their_leaves() -> None:
    assert dict(flatten({"a": {"init_args": {"b": [1]}}, "c": None})) == {"a.b": "[1]", "c": "None"}
