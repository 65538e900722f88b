"""Read the lines of a `metrics.csv` again, for a run that is resumed."""

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
    """Return the lines of a file of metrics before a step, without an incomplete last line.

    Raises:
        CheckpointError: the file is damaged; the error says how.
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
    """Raise `ValueError` unless a header has the step, and a different name for every column."""
    if STEP_COLUMN not in header:
        raise ValueError(f"its first line has no column '{STEP_COLUMN}'")
    if len(set(header)) < len(header) or not all(header):
        raise ValueError("its first line has a column without a name, or two of one name")


def checked_row(header: Sequence[str], line: Sequence[str]) -> dict[str, str]:
    """Return the filled cells of a line, by the names of their columns.

    Raises:
        ValueError: there are too few or too many cells, or a cell is no number.
    """
    if len(line) != len(header):
        raise ValueError(f"a line has {len(line)} cells under {len(header)} names")
    row = {name: cell for name, cell in zip(header, line, strict=True) if cell}
    if not A_STEP.fullmatch(row.get(STEP_COLUMN, "")):
        raise ValueError(f"'{row.get(STEP_COLUMN, '')}' is not the number of a step")
    for cell in row.values():
        float(cell)
    return row


def is_again(row: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Return whether a line has the same step and metrics as an old one."""
    return int(old[STEP_COLUMN]) == row[STEP_COLUMN] and old.keys() == row.keys()
