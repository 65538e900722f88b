"""CSV whose texts a spreadsheet shows, and does not run as formulas."""

import re
from collections.abc import Iterable
from typing import Any

# How a text begins that spreadsheets take for a formula, and one of ours that is kept from it.
FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
PLAIN_NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|nan)", re.IGNORECASE)


def csv_cells(values: Iterable[Any]) -> list[Any]:
    """Put an apostrophe before texts that a spreadsheet would run; numbers stay as they are.

    >>> csv_cells(["=HYPERLINK(0)", "cat", "-0.5", -0.5])
    ["'=HYPERLINK(0)", 'cat', '-0.5', -0.5]
    """
    return [f"'{value}" if is_formula(value) else value for value in values]


def is_formula(value: Any) -> bool:
    """Would a spreadsheet run a value, or take off an apostrophe that is its own?"""
    if not isinstance(value, str) or PLAIN_NUMBER.fullmatch(value):
        return False
    return FORMULA.match(value) is not None


def csv_text(cell: str) -> str:
    """Read a text back that `csv_cells` has written.

    >>> csv_text("'=HYPERLINK(0)"), csv_text("'tis")
    ('=HYPERLINK(0)', "'tis")
    """
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell
