"""Write the table of a classifier's answers, one row per image, as CSV or parquet."""

import csv
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from wemoe_pl.model.answering import Prediction
from wemoe_pl.system.spreadsheets import csv_cells

TableRow = dict[str, Any]
# The columns of the table in their order, by the attribute of a `Prediction` that each shows.
COLUMNS = {
    "image": pa.field("image", pa.string()),
    "task": pa.field("task", pa.string()),
    "class_name": pa.field("class", pa.string()),
    "probability": pa.field("probability", pa.float64()),
    "task_confidence": pa.field("task_confidence", pa.float64()),
    "error": pa.field("error", pa.string()),
}
HEADER = tuple(column.name for column in COLUMNS.values())
ROWS_AT_ONCE = 65536  # in memory, and in a group of a parquet file


def row_of(prediction: Prediction) -> TableRow:
    """Return the row of a prediction."""
    return {name: getattr(prediction, name) for name in COLUMNS}


def writable(value: Any) -> Any:
    """Return a value that a table can hold: names of classes and folders may be no valid UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value


def write_csv(path: Path, answers: Iterable[TableRow]) -> None:
    """Write a header and answers as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(HEADER)
        write_csv_rows(file, answers)


def write_csv_rows(file: TextIO, answers: Iterable[TableRow], **dialect: Any) -> None:
    """Write answers as CSV with numbers of six decimals and no text that a spreadsheet would run.

    Args:
        file: the file that is written to.
        answers: the rows.
        **dialect: the options of `csv.writer`.
    """
    writer = csv.writer(file, **dialect)
    for answer in answers:
        cells = csv_cells(answer[name] for name in COLUMNS)
        writer.writerow(f"{v:.6f}" if isinstance(v, float) else v for v in cells)


def write_parquet(path: Path, answers: Iterable[TableRow]) -> None:
    """Write answers as parquet."""
    schema = pa.schema(COLUMNS.values())
    rows = iter(answers)
    with pq.ParquetWriter(path, schema) as writer:
        while group := list(islice(rows, ROWS_AT_ONCE)):
            arrays = [
                pa.array([answer[name] for answer in group], column.type)
                for name, column in COLUMNS.items()
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


WRITERS = {".csv": write_csv, ".parquet": write_parquet}
