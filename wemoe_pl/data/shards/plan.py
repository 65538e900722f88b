"""Lay down once on disk which images belong to which unit of work, so that all processes agree."""

import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import with_config

from wemoe_pl.data.shards.pieces import PassedOver, Piece, find_pieces
from wemoe_pl.data.tasks.file_names import printable
from wemoe_pl.errors import DataError
from wemoe_pl.system.files import atomic_write
from wemoe_pl.system.schema import STRICT, Schema, parse_json

UNIT_IMAGES = 4096  # images of a unit; rows of a table may be more
# The columns of a plan: the fields of a `Piece`. Paths are bytes, which need not be UTF-8.
PLAN_COLUMNS = pa.schema([
    ("kind", pa.string()), ("path", pa.binary()), ("name", pa.string()), ("group", pa.int32()),
    ("start", pa.int64()), ("length", pa.int64()), ("size", pa.int64()), ("changed", pa.int64()),
    ("fault", pa.string()),
])  # fmt: skip
FACTS_OF_PLACE = ["kind", "path", "size", "changed"]


class ShardError(DataError):
    """A `ShardError` is about a whole tar, table or folder, and not about one image in it."""


@with_config(STRICT)
@dataclass(frozen=True)
class PlanFacts:
    """The facts of a plan are all of it but where each image is.

    Args:
        images: the number of images of each unit.
        question: the plain values on which the answers depend.
        seconds: the seconds that listing the images has taken.
        began: the time at which the plan was begun, in seconds since 1970.
    """

    images: list[int]
    question: dict[str, Any]
    seconds: float
    began: float


PLAN_SCHEMA = Schema(PlanFacts)


@dataclass(frozen=True)
class WorkPlan:
    """A plan divides images into units of work, each of which is one row group of its file.

    Args:
        file: the file with the pieces of all units.
        facts: all else.
    """

    file: Path
    facts: PlanFacts

    @property
    def images(self) -> list[int]:
        """Return the number of images of each unit."""
        return self.facts.images

    @cached_property
    def _table(self) -> pq.ParquetFile:
        return pq.ParquetFile(self.file)

    def pieces(self, unit: int) -> list[Piece]:
        """Return the pieces of a unit, without folders."""
        rows = self._table.read_row_group(unit).to_pylist()
        pieces = (Piece(**{**row, "path": Path(os.fsdecode(row["path"]))}) for row in rows)
        return [piece for piece in pieces if piece.kind != "folder"]

    def changed_folders(self) -> list[str]:
        """Return the folders from which files were taken away, or to which some were added.

        Raises:
            ShardError: a tar or a table is not as it was.
        """
        return [printable(path) for path, facts in self._places() if not is_as_it_was(path, *facts)]

    def _places(self) -> Iterator[tuple[Path, tuple[int, int]]]:
        """Yield folders, tars and tables with the sizes and times that they had."""
        last = None
        for unit in range(len(self.images)):
            for row in self._table.read_row_group(unit, FACTS_OF_PLACE).to_pylist():
                if row["kind"] != "file" and row["path"] != last:
                    last = row["path"]
                    yield Path(os.fsdecode(last)), (row["size"], row["changed"])


def is_as_it_was(path: Path, size: int, changed: int) -> bool:
    """Return whether a folder has the files that it had.

    Args:
        path: the folder, or a tar or a table.
        size: the size that it had; 0 for a folder.
        changed: the time of its last change that it had.

    Raises:
        ShardError: a tar or a table is not as it was.
    """
    try:
        facts = path.stat()
    except OSError:
        facts = None
    same = facts is not None and facts.st_mtime_ns == changed
    if size and not (same and facts is not None and facts.st_size == size):
        what = "has changed" if facts else "is no longer there"
        raise ShardError(
            f"{printable(path)} {what} since its images were listed: put it back as it was, or "
            "begin anew with --fresh."
        )
    return same


def lay_down(facts: Path, sources: Sequence[str], question: dict[str, Any]) -> WorkPlan:
    """List the images of sources, and write which of them belong to which unit.

    Args:
        facts: the file that is written last; the pieces lie beside it.
        sources: folders, patterns, images, parquet files or tars.
        question: the plain values on which the answers depend.

    Raises:
        DataError: there are no images, or a source cannot be read.
    """
    began, passed = time.time(), PassedOver()
    images = []
    with (
        atomic_write(facts.with_suffix(".parquet")) as temporary,
        pq.ParquetWriter(temporary, PLAN_COLUMNS) as writer,
    ):
        for unit in units_of(find_pieces(sources, passed)):
            images.append(sum(piece.images for piece in unit))
            rows = [piece._asdict() | {"path": os.fsencode(piece.path)} for piece in unit]
            writer.write_table(pa.Table.from_pylist(rows, PLAN_COLUMNS))
    passed.tell()
    described = PlanFacts(images, question, time.time() - began, began)
    with atomic_write(facts) as temporary:
        temporary.write_text(json.dumps(asdict(described)))
    return read_plan(facts)


def units_of(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Yield pieces in lists of at most `UNIT_IMAGES` images, unless one piece has more."""
    unit: list[Piece] = []
    images = 0
    for piece in pieces:
        if images and images + piece.images > UNIT_IMAGES:
            yield unit
            unit, images = [], 0
        unit.append(piece)
        images += piece.images
    if images:
        yield unit


def read_plan(facts: Path) -> WorkPlan:
    """Read a plan.

    Raises:
        DataError: it is damaged.
    """
    try:
        found = parse_json(facts.read_text(encoding="utf-8"))
        if wrong := PLAN_SCHEMA.faults(found).wrong:
            raise ValueError(wrong)
        return WorkPlan(facts.with_suffix(".parquet"), PLAN_SCHEMA.make(found))
    except (ValueError, OSError) as error:
        raise DataError(f"{facts} is damaged ({error}): begin anew with --fresh.") from error
