"""A table of predictions has a column for all that they say, in CSV and in parquet."""

import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from wemoe_pl.model.answering import Prediction
from wemoe_pl.model.prediction_table import (
    COLUMNS,
    HEADER,
    WRITERS,
    row_of,
    writable,
    write_csv_rows,
)

ROWS = [
    row_of(Prediction("mnist", 0.25, "=7", 1 / 3, [("=7", 1 / 3)], "a, b.png")),
    row_of(Prediction.unreadable("c.png", "c.png is torn")),
]
LINES = ['"a, b.png",mnist,\'=7,0.333333,0.250000,', "c.png,,,,,c.png is torn"]


def test_every_field_of_an_answer_has_a_column() -> None:
    assert set(COLUMNS) == set(Prediction._fields) - {"top"}


def test_a_file_of_csv_has_a_header_and_a_line_for_each(tmp_path: Path) -> None:
    WRITERS[".csv"](tmp_path / "t.csv", ROWS)
    assert (tmp_path / "t.csv").read_text().splitlines() == [",".join(HEADER), *LINES]


def test_rows_are_written_by_the_dialect_that_is_asked_for() -> None:
    file = io.StringIO()
    write_csv_rows(file, ROWS, lineterminator="\n")
    assert file.getvalue() == "".join(f"{line}\n" for line in LINES)


def test_parquet_has_all_digits_and_every_text_as_it_is(tmp_path: Path) -> None:
    WRITERS[".parquet"](tmp_path / "t.parquet", ROWS)
    rows = pq.read_table(tmp_path / "t.parquet").to_pylist()
    assert [list(row) for row in rows] == [list(HEADER)] * 2
    assert rows[0]["class"] == "=7"
    assert rows[0]["probability"] == 1 / 3


@pytest.mark.parametrize(
    ("value", "written"), [("caf\udce9", r"caf\udce9"), ("café", "café"), (0.5, 0.5), (None, None)]
)
def test_what_no_table_can_hold_is_written_otherwise(value: object, written: object) -> None:
    assert writable(value) == written
