"""Write CSV whose texts a spreadsheet shows instead of running them as formulas."""

import re
from collections.abc import Iterable
from typing import Any

# The beginning of a text that spreadsheets take for a formula, or that apostrophes keep from it.
FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
PLAIN_NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|nan)", re.IGNORECASE)


def csv_cells(values: Iterable[Any]) -> list[Any]:
    """Put an apostrophe before texts that a spreadsheet would run; leave numbers as they are.

    >>> csv_cells(["=HYPERLINK(0)", "cat", "-0.5", -0.5])
    ["'=HYPERLINK(0)", 'cat', '-0.5', -0.5]
    """
    return [f"'{value}" if is_formula(value) else value for value in values]


def is_formula(value: Any) -> bool:
    """Return whether a spreadsheet would run a value, or remove its first apostrophe."""
    if not isinstance(value, str) or PLAIN_NUMBER.fullmatch(value):
        return False
    return FORMULA.match(value) is not None


def csv_text(cell: str) -> str:
    """Return the text from which `csv_cells` has made a cell.

    >>> csv_text("'=HYPERLINK(0)"), csv_text("'tis")
    ('=HYPERLINK(0)', "'tis")
    """
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell
