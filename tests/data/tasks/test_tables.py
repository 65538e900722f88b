"""Parquet files as one table: without rows, with other columns, damaged."""

from pathlib import Path

import datasets
import pandas  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wemoe_pl.data.tasks.tables import matching, read_table
from wemoe_pl.errors import DataError

ROWS = pa.table({"image": [b"a", b"b"], "label": [0, 1]})


@pytest.fixture(autouse=True)
def arrow_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` keeps a copy of what it reads: not among those of whoever runs the tests."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "arrow")


def write(folder: Path, *tables: pa.Table) -> list[Path]:
    """A file for each table."""
    files = [folder / f"{number}.parquet" for number in range(len(tables))]
    for path, table in zip(files, tables, strict=True):
        pq.write_table(table, path)
    return files


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_file_without_rows_adds_none(place: int, tmp_path: Path) -> None:
    tables = [ROWS, ROWS]
    tables.insert(place, ROWS.slice(0, 0))  # as Spark leaves them of empty partitions
    files = write(tmp_path, *tables)
    theirs = pandas.concat([pandas.read_parquet(path) for path in files], ignore_index=True)
    table = read_table(files, "pets").data.table
    assert table.to_pydict() == theirs.to_dict(orient="list")


def test_files_that_all_lack_rows_are_no_table(tmp_path: Path) -> None:
    files = write(tmp_path, ROWS.slice(0, 0), ROWS.slice(0, 0))
    with pytest.raises(DataError, match=r"^pets cannot be read: there are no rows\.$"):
        read_table(files, "pets")


def test_columns_may_come_in_any_order(tmp_path: Path) -> None:
    files = write(tmp_path, ROWS, ROWS.select(["label", "image"]))
    assert read_table(files, "pets")["label"][:] == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (ROWS.append_column("x", pa.array([1, 1])), r"image (binary), label (int64), x (int64)"),
        (ROWS.set_column(1, "label", pa.array(["a", "b"])), r"image (binary), label (string)"),
    ],
)
def test_files_of_other_columns_are_named_with_both(
    other: pa.Table, words: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        read_table(write(tmp_path, ROWS, ROWS, other), "pets")
    assert str(caught.value) == (
        "pets cannot be read as one table: 0.parquet has image (binary), label (int64), and "
        f"2.parquet has {words}. Give all files the same columns."
    )


def test_a_damaged_file_is_to_be_fetched_again(tmp_path: Path) -> None:
    files = write(tmp_path, ROWS, ROWS)
    files[1].write_bytes(files[1].read_bytes()[:-20])
    with pytest.raises(DataError, match=r"^pets cannot be read \(.+\): fetch or copy them again"):
        read_table(files, "pets")


def test_a_pattern_means_parquet_files_alone() -> None:
    names = ["data/test-0.parquet", "data/test-1.csv", "data/train-0.parquet"]
    assert matching("data/test-*", names) == ["data/test-0.parquet"]
