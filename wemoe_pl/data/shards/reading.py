"""Read the images of a unit of work, wherever each of them is."""

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from wemoe_pl.data.shards.pieces import Piece, unreadable_table
from wemoe_pl.data.shards.plan import ShardError, is_as_it_was
from wemoe_pl.data.tasks.columns import content_and_path, read_cell
from wemoe_pl.data.tasks.decoding import read_image
from wemoe_pl.data.tasks.file_names import printable
from wemoe_pl.errors import DataError

ROWS_IN_MEMORY = 64


class OpenTar:
    """An `OpenTar` reads ranges of bytes of a tar."""

    def __init__(self, path: Path):
        self.path = path
        self.file = path.open("rb")

    def content(self, piece: Piece) -> bytes:
        """Return the bytes of an image."""
        content = os.pread(self.file.fileno(), piece.length, piece.start)
        if len(content) < piece.length:
            raise ShardError(f"{printable(self.path)} is cut off: copy or write it again.")
        return content


class OpenTable:
    """An `OpenTable` reads the rows of a parquet file in order, with a few of them in memory."""

    def __init__(self, path: Path):
        self.path = path
        with table_faults(self.path):
            self.table = pq.ParquetFile(path)
        sizes = (self.table.metadata.row_group(g).num_rows for g in range(self.groups))
        self.firsts = [0, *accumulate(sizes)]
        self._place: tuple[str, int] | None = None
        self._first, self._rows = 0, pa.array([])

    @property
    def groups(self) -> int:
        """Return the number of row groups."""
        return self.table.metadata.num_row_groups

    def cell(self, piece: Piece, row: int) -> pa.Scalar:
        """Return the cell of an image, by the number of its row in the file."""
        if self._place != (piece.name, piece.group) or row < self._first:
            self._begin(piece)
        while row >= self._first + len(self._rows):
            self._first += len(self._rows)
            with table_faults(self.path):
                self._rows = next(self._batches).column(0)
        return self._rows[row - self._first]

    def _begin(self, piece: Piece) -> None:
        """Go to the first row of a row group."""
        self._place = piece.name, piece.group
        self._first, self._rows = self.firsts[piece.group], pa.array([])
        self._batches: Iterator[pa.RecordBatch] = self.table.iter_batches(
            ROWS_IN_MEMORY, row_groups=[piece.group], columns=[piece.name]
        )


@contextmanager
def table_faults(path: Path) -> Iterator[None]:
    """Turn the errors of a library about a parquet file into a `ShardError` of one sentence."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise ShardError(str(unreadable_table(path, error))) from error


class PlannedImages:
    """`PlannedImages` are the images of a unit, each decoded when it is asked for.

    Args:
        pieces: the pieces of the unit.
    """

    def __init__(self, pieces: Sequence[Piece]):
        self.pieces = list(pieces)
        self._ends = list(accumulate(piece.images for piece in self.pieces))
        self._open: OpenTar | OpenTable | None = None

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def name(self, index: int) -> str:
        """Return the name of an image: its path, its place in a tar, or its row in a table."""
        piece, row = self._located(index)
        if piece.kind != "rows":
            return piece.name
        _, path = content_and_path(self._table(piece).cell(piece, row))
        return row_name(piece, row) + (f", {path}" if path else "")

    def __getitem__(self, index: int) -> Image.Image:
        """Return an image.

        Raises:
            ShardError: the file is not there any more, or its tar or table is not as it was.
            DataError: this image cannot be read.
        """
        piece, row = self._located(index)
        if piece.fault:
            raise DataError(f"{piece.name} {piece.fault}")
        if piece.kind == "rows":
            return read_cell(self._table(piece).cell(piece, row), row_name(piece, row))
        if piece.kind == "member":
            return read_image(self._tar(piece).content(piece), piece.name)
        try:
            return read_image(piece.path)
        except DataError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise ShardError(
                    f"{piece.name} is no longer there, though it was when the images were listed: "
                    "put it back, or begin anew with --fresh."
                ) from None
            raise

    def _located(self, index: int) -> tuple[Piece, int]:
        """Return the piece of an image, and for a table its row in the file."""
        place = bisect_right(self._ends, index)
        piece = self.pieces[place]
        return piece, piece.start + index - (self._ends[place] - piece.images)

    def _tar(self, piece: Piece) -> OpenTar:
        if not (isinstance(self._open, OpenTar) and self._open.path == piece.path):
            is_as_it_was(piece.path, piece.size, piece.changed)
            self._open = OpenTar(piece.path)
        return self._open

    def _table(self, piece: Piece) -> OpenTable:
        if not (isinstance(self._open, OpenTable) and self._open.path == piece.path):
            is_as_it_was(piece.path, piece.size, piece.changed)
            self._open = OpenTable(piece.path)
        return self._open


def row_name(piece: Piece, row: int) -> str:
    """Return the name of an image in a table in errors."""
    return f"row {row} of {printable(piece.path)}"
