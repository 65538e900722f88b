"""A spreadsheet shows what is in a CSV of ours, and runs none of it."""

import csv
import io

import pytest

from wemoe_pl.system.spreadsheets import csv_cells, csv_text

FORMULAS = [
    "=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "--", "-",
    "+a",
    "'=1", "''+1", "'-0.5", "-1 000", "-0x10",
]  # fmt: skip
TEXTS = ["cat", "", "'", "'tis", "a=b", "1-1", "C++", " =1", "no.1"]
NUMBERS = ["-0.5", "+3", "-1e-05", "-.5", "-7.", "-inf", "+NaN"]


@pytest.mark.parametrize("text", [*FORMULAS, *TEXTS, *NUMBERS], ids=ascii)
def test_every_text_is_read_back_as_it_was(text: str) -> None:
    file = io.StringIO(newline="")
    csv.writer(file).writerow(csv_cells(["first", text]))
    file.seek(0)
    [(_, cell)] = csv.reader(file)
    assert csv_text(cell) == text
    assert (cell != text) == (text in FORMULAS)
    assert cell.startswith("'") or text not in FORMULAS


@pytest.mark.parametrize("value", [-0.5, -3, None, True, 1e-9])
def test_what_is_no_text_stays_as_it_is(value: object) -> None:
    assert csv_cells([value]) == [value]
