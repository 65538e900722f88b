"""Parquet files: which ones a pattern means, and their rows as one table."""

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
    """The rows of parquet files, mapped to memory; files without any add none.

    Args:
        files: of one table.
        called: what errors call them.

    Raises:
        DataError: they cannot be read, differ in their columns, have no rows, or there is no space.
    """
    from datasets import load_dataset

    try:
        filled = [str(path) for path in files if pq.read_metadata(path).num_rows]
        if filled:
            return load_dataset("parquet", data_files={"rows": filled}, split="rows")
    except Exception as error:  # `datasets` and pyarrow raise many kinds
        cause = error.__cause__ or error
        if isinstance(cause, OSError) and cause.errno is not None:
            raise DataError(
                f"{called} cannot be unpacked: {cause.strerror}. Free some space, or set HF_HOME "
                "to a folder on another disk."
            ) from error
        if difference := difference_in_columns(files):
            raise DataError(
                f"{called} cannot be read as one table: {difference}. Give all the same columns."
            ) from error
        reason = " ".join(str(cause).partition(".")[0].split())
        raise DataError(f"{called} cannot be read ({reason}): fetch or copy them again.") from error
    raise DataError(f"{called} cannot be read: there are no rows.")


def difference_in_columns(files: Sequence[Path]) -> str | None:
    """Say how the first file differs that has other columns than file one; None if none has."""
    with suppress(pa.ArrowInvalid, OSError):  # of a damaged file, which differs in more
        columns = [columns_in_words(pq.read_schema(path)) for path in files]
        for path, words in zip(files, columns, strict=True):
            if words != columns[0]:
                return (
                    f"{printable(files[0].name)} has {columns[0]}, and {printable(path.name)} has "
                    f"{words}"
                )
    return None


def columns_in_words(schema: pa.Schema) -> str:
    """The names and types of columns, which may come in any order."""
    return ", ".join(sorted(f"{field.name} ({field.type})" for field in schema))


def matching(pattern: str, names: Sequence[str]) -> list[str]:
    """The parquet files among these names that a pattern means."""
    return [name for name in names if fnmatch(name, pattern) and name.endswith(TABLE)]


def tables_in(folder: Path, pattern: str) -> list[Path]:
    """The parquet files of a folder that a pattern means.

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
    """The fingerprint of the images in a column of parquet files."""
    return f"{hashed('parquet', file_facts(files))}, column {column}"
