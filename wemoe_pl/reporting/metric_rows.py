"""The lines of a `metrics.csv`, read again by a run that goes on: a step and numbers, or none."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wemoe_pl.errors import CheckpointError

STEP_COLUMN = "step"
A_STEP = re.compile("[0-9]{1,18}")


def rows_before(path: Path, step: int) -> list[dict[str, Any]]:
    """The lines of a file of metrics that are of earlier steps than this, without a torn one.

    Raises:
        CheckpointError: the file is damaged; names the line.
    """
    if not step or not path.is_file():
        return []
    try:
        text = path.read_text(encoding="utf-8").rpartition("\n")[0]
        lines = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = next(lines, [])
        check_header(header)
        rows = [checked_row(header, line) for line in lines]
    except (ValueError, csv.Error) as error:
        raise CheckpointError(
            f"{path} is damaged: {error}. Put back the file that the run has left, or delete it to "
            "go on without what was logged before."
        ) from error
    return [row for row in rows if int(row[STEP_COLUMN]) < step]


def check_header(header: Sequence[str]) -> None:
    """Raise `ValueError` unless a first line names metrics, each once, and the step."""
    if STEP_COLUMN not in header:
        raise ValueError(f"its first line has no column '{STEP_COLUMN}'")
    if len(set(header)) < len(header) or not all(header):
        raise ValueError("its first line has a column without a name, or two of one name")


def checked_row(header: Sequence[str], line: Sequence[str]) -> dict[str, str]:
    """The cells of a line that are filled, by the names of their columns.

    Raises:
        ValueError: a cell is missing, too many, or no number.
    """
    if len(line) != len(header):
        raise ValueError(f"a line has {len(line)} cells under {len(header)} names")
    row = {name: cell for name, cell in zip(header, line, strict=True) if cell}
    if not A_STEP.fullmatch(row.get(STEP_COLUMN, "")):
        raise ValueError(f"'{row.get(STEP_COLUMN, '')}' is no step")
    for cell in row.values():
        float(cell)
    return row


def is_again(row: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Is a line of the same step and metrics as an old one?"""
    return int(old[STEP_COLUMN]) == row[STEP_COLUMN] and old.keys() == row.keys()
