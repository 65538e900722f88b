"""Read the files that a sweep writes: the command of each point, and the chosen setting."""

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
    """A `CommandRecord` holds a point's command and, once it is done, the SHA-256 of its files."""

    command: list[str]
    files: dict[str, Digest] | None


@with_config(OPEN)
class Choice(TypedDict):
    """A `Choice` holds the values of the chosen setting by their keys, and these facts.

    Attributes:
        folder: the folder of the point of the first seed.
        folders: the folders of the points of all seeds; earlier versions chose one point.
        selected_by: the score that has chosen; earlier versions knew information alone.
        information: the information, in the mean over seeds; None if no point has it.
        agreement: the agreement with the experts, in the mean over seeds, if that has chosen.
    """

    folder: str
    folders: NotRequired[list[str]]
    selected_by: NotRequired[LabelFreeScore]
    information: float | None
    agreement: NotRequired[float]


COMMAND_RECORD, CHOICE = Schema(CommandRecord), Schema(Choice)


def read_command(path: Path) -> CommandRecord:
    """Read the `command.json` of a point; its command is empty if there is no such file.

    Raises:
        CheckpointError: the file is damaged, or of a later version.
    """
    found = parsed(path)
    if isinstance(found, list):  # earlier versions wrote the command alone
        found = {"command": found, "files": None}
    record = checked_record(path, found, COMMAND_RECORD)
    return record or CommandRecord(command=[], files=None)


def read_choice(path: Path) -> Choice | None:
    """Read the `chosen.json` of a sweep; return None if there is no such file.

    Raises:
        CheckpointError: the file is damaged.
    """
    choice = checked_record(path, parsed(path), CHOICE)
    if not all(isinstance(value, str) for value in settings_in(choice or {}).values()):
        raise damaged_record(path, "a setting is not text")
    return choice


def settings_in(choice: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the setting in a choice, by their keys, without the facts about it."""
    return {key: value for key, value in choice.items() if key not in Choice.__annotations__}


def parsed(path: Path) -> Any:
    """Return the contents of a JSON file; None if there is no such file."""
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
    """Return the contents of a file if they match the schema; None if there is no such file.

    Raises:
        CheckpointError: something is missing, wrong or unknown to the schema.
    """
    if found is None:
        return None
    faults = schema.faults(found)
    if faults.wrong or faults.unknown:
        raise damaged_record(path, faults.wrong or f"it has {faults.unknown_in_words}")
    record: Record = found
    return record


def damaged_record(path: Path, why: str) -> CheckpointError:
    """Return the error for a damaged file of a sweep."""
    return CheckpointError(f"{path} is damaged or of a later wemoe-pl: {why}.")
