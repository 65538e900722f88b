"""The names of the commands: what is told of each, and of a name that is none."""

import pytest

from wemoe_pl.cli.commands import COMMANDS, SUBCOMMANDS, VERBS, wrong_command
from wemoe_pl.cli.job import WeMoECLI


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
    assert wrong_command("zzz").startswith("There is no command 'zzz'. Valid names: bench, ")


def test_a_missing_command_is_asked_for() -> None:
    assert wrong_command() == f"Give a command: {', '.join(COMMANDS)}."
