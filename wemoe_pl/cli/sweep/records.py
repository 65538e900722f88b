"""The files that a sweep writes and reads again: the command of a point, and the chosen point."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypeVar

from pydantic import with_config
from typing_extensions import TypedDict

from wemoe_pl.errors import CheckpointError
from wemoe_pl.runs.checkpoint_schema import Digest
from wemoe_pl.system.schema import OPEN, STRICT, Schema, parse_json
from wemoe_pl.training.shown_metrics import LabelFreeScore

Record = TypeVar("Record")


@with_config(STRICT)
class CommandRecord(TypedDict):
    """The command of a point, and when it is done, the files that it named by their SHA-256."""

    command: list[str]
    files: dict[str, Digest] | None


@with_config(OPEN)
class Choice(TypedDict):
    """The chosen setting: its values by their keys, and beside them these.

    Attributes:
        folder: of the point of its first seed.
        folders: of the points of all its seeds; earlier versions chose one point.
        selected_by: the score that has chosen; earlier versions knew information alone.
        information: in the mean over seeds, as all scores are.
        agreement: with the experts, if that has chosen.
    """

    folder: str
    folders: NotRequired[list[str]]
    selected_by: NotRequired[LabelFreeScore]
    information: float | None
    agreement: NotRequired[float]


COMMAND_RECORD, CHOICE = Schema(CommandRecord), Schema(Choice)


def read_command(path: Path) -> CommandRecord:
    """Read the `command.json` of a point; an empty command if it is not there.

    Raises:
        CheckpointError: it is damaged, or of a later version.
    """
    found = parsed(path)
    if isinstance(found, list):  # of an earlier version
        found = {"command": found, "files": None}
    record = checked_record(path, found, COMMAND_RECORD)
    return record or CommandRecord(command=[], files=None)


def read_choice(path: Path) -> Choice | None:
    """Read the `chosen.json` of a sweep; None if it is not there.

    Raises:
        CheckpointError: it is damaged.
    """
    choice = checked_record(path, parsed(path), CHOICE)
    if not all(isinstance(value, str) for value in settings_in(choice or {}).values()):
        raise damaged_record(path, "a setting is no text")
    return choice


def settings_in(choice: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in a choice, by their keys, without what it says of them."""
    return {key: value for key, value in choice.items() if key not in Choice.__annotations__}


def parsed(path: Path) -> Any:
    """The contents of a file of JSON; None if it is not there."""
    if not path.is_file():
        return None
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise damaged_record(path, str(error)) from error
    if found is None:
        raise damaged_record(path, "it holds nothing")
    return found


def checked_record(path: Path, found: Any, schema: Schema[Record]) -> Record | None:
    """Return the contents of a file that is there and has all that its schema says, and no more."""
    if found is None:
        return None
    faults = schema.faults(found)
    if faults.wrong or faults.unknown:
        raise damaged_record(path, faults.wrong or f"it has {faults.unknown_in_words}")
    record: Record = found
    return record


def damaged_record(path: Path, why: str) -> CheckpointError:
    """The error for a file of a sweep that is no such file."""
    return CheckpointError(f"{path} is damaged or of a later wemoe-pl: {why}.")
