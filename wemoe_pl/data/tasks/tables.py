"""Find the parquet files that a pattern matches, and read their rows as one table."""

from collections.abc import Sequence
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from wemoe_pl.data.tasks.base import hashed
from wemoe_pl.data.tasks.file_names import printable
from wemoe_pl.data.tasks.image_files import file_facts
from wemoe_pl.data.tasks.listing import files_below
from wemoe_pl.errors import DataError
from wemoe_pl.system.near_paths import did_you_mean_path

if TYPE_CHECKING:
    from datasets import Dataset  # which takes seconds to import, and only tables need it

TABLE = ".parquet"


def read_table(files: Sequence[Path], called: str) -> "Dataset":
    """Return the rows of parquet files as one table, mapped to memory; skip files without rows.

    Args:
        files: the files of one table.
        called: the name of the files in errors.

    Raises:
        DataError: the files cannot be read, differ in their columns or have no rows, or the disk
            has no space.
    """
    from datasets import load_dataset

    try:
        filled = [str(path) for path in files if pq.read_metadata(path).num_rows]
        if filled:
            return load_dataset("parquet", data_files={"rows": filled}, split="rows")
    except Exception as error:  # `datasets` and pyarrow raise many kinds of errors
        cause = error.__cause__ or error
        if isinstance(cause, OSError) and cause.errno is not None:
            raise DataError(
                f"{called} cannot be unpacked: {cause.strerror}. Free some space, or set HF_HOME "
                "to a folder on another disk."
            ) from error
        if difference := difference_in_columns(files):
            raise DataError(
                f"{called} cannot be read as one table: {difference}. Give all files the same "
                "columns."
            ) from error
        reason = " ".join(str(cause).partition(".")[0].split())
        raise DataError(f"{called} cannot be read ({reason}): fetch or copy them again.") from error
    raise DataError(f"{called} cannot be read: there are no rows.")


def difference_in_columns(files: Sequence[Path]) -> str | None:
    """Say how the first file with other columns differs from file one; None if none does."""
    with suppress(pa.ArrowInvalid, OSError):  # a file is damaged, which is another fault
        columns = [columns_in_words(pq.read_schema(path)) for path in files]
        for path, words in zip(files, columns, strict=True):
            if words != columns[0]:
                return (
                    f"{printable(files[0].name)} has {columns[0]}, and {printable(path.name)} has "
                    f"{words}"
                )
    return None


def columns_in_words(schema: pa.Schema) -> str:
    """Return the names and types of columns as text, sorted, since their order does not matter."""
    return ", ".join(sorted(f"{field.name} ({field.type})" for field in schema))


def matching(pattern: str, names: Sequence[str]) -> list[str]:
    """Return the parquet files among some names that match a pattern."""
    return [name for name in names if fnmatch(name, pattern) and name.endswith(TABLE)]


def tables_in(folder: Path, pattern: str) -> list[Path]:
    """Return the parquet files of a folder that match a pattern.

    Raises:
        DataError: there is no such folder, or no such file in it.
    """
    if not folder.is_dir():
        hint = did_you_mean_path(folder)
        raise DataError(f"There is no folder {folder}: check `dataset` in the config.{hint}")
    there = [str(path.relative_to(folder)) for path in files_below(folder, {TABLE})]
    names = matching(pattern, there)
    if not names:
        found = f"It has {', '.join(there[:3])} …" if there else "It has no parquet files"
        raise DataError(f"{folder} has no parquet files '{pattern}'. {found}.")
    return [folder / name for name in names]


def table_facts(files: Sequence[Path], column: str) -> str:
    """Return the fingerprint of the images in a column of parquet files."""
    return f"{hashed('parquet', file_facts(files))}, column {column}"
