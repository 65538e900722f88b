"""Say for every image where it is, without holding all images in memory."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from glob import has_magic
from math import ceil
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from wemoe_pl.data.shards.tar import (
    TAR,
    compressed_tar_error,
    is_compressed_tar,
    is_shown,
    members_of,
    name_in,
)
from wemoe_pl.data.tasks.columns import image_column
from wemoe_pl.data.tasks.file_names import SHOWN_AT_MOST, printable
from wemoe_pl.data.tasks.image_files import IMAGE_SUFFIXES
from wemoe_pl.data.tasks.tables import TABLE
from wemoe_pl.data.tasks.unlabelled import nothing_there, path_meant
from wemoe_pl.data.tasks.walking import walk_files
from wemoe_pl.errors import DataError
from wemoe_pl.system.warn import warn

MOST_ROWS_OF_A_PIECE = 4096  # rows of a table in one piece
# A group of rows with more bytes is one piece: each piece reads what is before it in its group.
MOST_BYTES_OF_A_GROUP = 1 << 28
NUMBERS = re.compile(r"\{(\d+)\.\.(\d+)\}")  # as in `train-{000..099}.tar`
SHARD_KINDS = {TABLE: "parquet files", TAR: "tar shards"}  # by suffix; all others are images


class Piece(NamedTuple):
    """A piece is an image, a run of rows of a table, or a folder whose files follow.

    Attributes:
        kind: the kind of the piece.
        path: the path of the file or of the folder.
        name: the name of the image; for rows, that of the column of images.
        group: the number of the row group of rows in their file; 0 for all others.
        start: the place of the first byte in the tar, or the first row in the file.
        length: the number of bytes in the tar, or of rows.
        size: the size of the tar or the table in bytes.
        changed: the time of the last change of the tar, table or folder, in nanoseconds.
        fault: the end of a sentence on why the image cannot be read; None if it may be readable.
    """

    kind: Literal["folder", "file", "member", "rows"]
    path: Path
    name: str = ""
    group: int = 0
    start: int = 0
    length: int = 0
    size: int = 0
    changed: int = 0
    fault: str | None = None

    @property
    def images(self) -> int:
        """Return the number of images."""
        return {"folder": 0, "rows": self.length}.get(self.kind, 1)


@dataclass
class PassedOver:
    """A `PassedOver` counts and names the files without the suffix of an image.

    Attributes:
        files: the number of files that were looked at in folders.
        others: the number of those that were passed over.
        names: the first names of these.
        members: the number of files that were looked at in tars.
        suffixes: the number of those that were passed over, by suffix.
    """

    files: int = 0
    others: int = 0
    names: list[str] = field(default_factory=list)
    members: int = 0
    suffixes: Counter[str] = field(default_factory=Counter)

    def note_file(self, path: Path) -> None:
        """Note a file that is passed over."""
        self.others += 1
        if len(self.names) < SHOWN_AT_MOST:
            self.names.append(printable(path))

    def tell(self) -> None:
        """Warn of what was passed over."""
        if self.others:
            rest = self.others - len(self.names)
            more = f" and {rest} more" if rest else ""
            warn(
                f"{self.others} of {self.files} files are passed over, since they lack the suffix "
                f"of an image or are broken links: {', '.join(self.names)}{more}."
            )
        if self.suffixes:
            by = ", ".join(f"{suffix} ({n})" for suffix, n in self.suffixes.most_common(10))
            warn(
                f"{self.suffixes.total()} of {self.members} files in tar shards are passed over, "
                f"since they are hidden or lack the suffix of an image: {by}."
            )


def find_pieces(sources: Sequence[str], passed: PassedOver) -> Iterator[Piece]:
    """Yield the pieces of sources, in order; each image once for each source that has it.

    Args:
        sources: folders with images, parquet files or tars below them, patterns of these, or files.
        passed: takes note of what is passed over.

    Raises:
        DataError: a source has no images, or several kinds of them, or cannot be read.
    """
    for source in (each for given in sources for each in numbered(given)):
        found = 0
        for piece in pieces_of(source, passed):
            found += piece.images
            yield piece
        if not found:
            raise DataError(
                f"{printable(source)} has no images: check its path. Images end in "
                f"{', '.join(sorted(IMAGE_SUFFIXES))}, tables of them in {TABLE}, shards in {TAR}."
            )


def numbered(source: str) -> list[str]:
    """Return the paths of shards that are given by a range of numbers.

    >>> numbered("a-{08..10}.tar")
    ['a-08.tar', 'a-09.tar', 'a-10.tar']
    """
    found = NUMBERS.search(source)
    if not found or path_meant(source).exists():
        return [source]
    first, last = found[1], found[2]
    numbers = (str(n).zfill(len(first)) for n in range(int(first), int(last) + 1))
    before, after = source[: found.start()], source[found.end() :]
    return [text for n in numbers for text in numbered(f"{before}{n}{after}")]


def pieces_of(source: str, passed: PassedOver) -> Iterator[Piece]:
    """Yield the pieces of one file, folder or pattern."""
    path = path_meant(source)
    if path.is_file():
        if is_compressed_tar(path.name):
            raise compressed_tar_error(path)
        yield from pieces_in(path, passed)
    elif path.is_dir() or has_magic(str(path)):
        yield from pieces_below(path, source, passed)
    else:
        raise nothing_there(source)


def pieces_below(path: Path, source: str, passed: PassedOver) -> Iterator[Piece]:
    """Yield the pieces of all files that a folder or a pattern stands for."""
    kind, compressed, before = None, None, passed.files
    for folder, names, broken, changed in walk_files(path):
        yield Piece("folder", folder, changed=changed)
        passed.files += len(names)
        for name in names:
            file, suffix = folder / name, PurePosixPath(name).suffix.lower()
            if is_compressed_tar(name):
                compressed = compressed or file
            if suffix not in IMAGE_SUFFIXES | SHARD_KINDS.keys() or name in broken:
                passed.note_file(file)
                continue
            this = SHARD_KINDS.get(suffix, "images")
            kind = kind or this
            if this != kind:
                raise DataError(
                    f"{printable(source)} has {kind} and {this}: give them as sources of their "
                    "own, by patterns such as 'folder/**/*.jpg'."
                )
            yield from pieces_in(file, passed)
    if compressed and kind in (None, SHARD_KINDS[TAR]):
        raise compressed_tar_error(compressed)
    if passed.files == before and not path.is_dir():
        raise nothing_there(source)


def pieces_in(path: Path, passed: PassedOver) -> Iterator[Piece]:
    """Yield the pieces of one file: a table, a tar, or else an image."""
    suffix = path.suffix.lower()
    if suffix == TABLE:
        yield from rows_of(path)
    elif suffix == TAR:
        yield from images_in(path, passed)
    else:
        yield Piece("file", path, printable(path))


def images_in(path: Path, passed: PassedOver) -> Iterator[Piece]:
    """Yield the images in a tar."""
    facts = path.stat()
    shown = {"size": facts.st_size, "changed": facts.st_mtime_ns}
    for member in members_of(path):
        passed.members += 1
        suffix = PurePosixPath(member.name).suffix.lower()
        if suffix not in IMAGE_SUFFIXES or not is_shown(member.name):
            passed.suffixes[suffix or "no suffix"] += 1
            continue
        name = name_in(printable(path), member.name)
        place = {"start": member.start, "length": member.size, "fault": member.fault}
        yield Piece("member", path, name, **place, **shown)  # type: ignore[arg-type]


def rows_of(path: Path) -> Iterator[Piece]:
    """Yield the rows of a parquet file, in runs of rows of one row group.

    Raises:
        DataError: the file cannot be read, or has no column of images or several of them.
    """
    called = printable(path)
    facts = path.stat()
    try:
        table = pq.read_metadata(path)
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise unreadable_table(path, error) from error
    if not table.num_rows:
        return
    column = image_column(schema, called)
    first = 0
    for group in range(table.num_row_groups):
        counted = table.row_group(group)
        is_large = counted.total_byte_size > MOST_BYTES_OF_A_GROUP
        runs = 1 if is_large else max(1, ceil(counted.num_rows / MOST_ROWS_OF_A_PIECE))
        for run in range(runs):
            start, end = (counted.num_rows * each // runs for each in (run, run + 1))
            if end > start:
                yield Piece(
                    "rows", path, column, group, first + start, end - start, facts.st_size,
                    facts.st_mtime_ns,
                )  # fmt: skip
        first += counted.num_rows


def unreadable_table(path: Path, error: Exception) -> DataError:
    """Return the error for a parquet file that cannot be read."""
    reason = " ".join(str(error).partition(".")[0].split())
    return DataError(f"{printable(path)} cannot be read ({reason}): fetch or copy it again.")
