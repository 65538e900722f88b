"""Find the images in tar shards by their places: nothing is ever unpacked to the disk."""

import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from wemoe_pl.data.tasks.file_names import printable
from wemoe_pl.data.tasks.walking import is_hidden
from wemoe_pl.errors import DataError

TAR = ".tar"
# The ends of names of tars that are compressed as a whole.
COMPRESSED = (
    ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tar.lz4", ".tar.z",
)  # fmt: skip
MOST_OF_A_HEADER = 1 << 20  # bytes: names and attributes of one file
TAR_BLOCK = 512  # bytes: all of a tar is in such blocks
BYTES_AT_ONCE = 1 << 16  # bytes that are read at once behind the last member


class Member(NamedTuple):
    """A member is a file in a tar.

    Attributes:
        name: the name of the file, as text that can be printed.
        start: the place of the first byte in the tar.
        size: the number of its bytes.
        fault: the end of a sentence on why it cannot be read; None if it can.
    """

    name: str
    start: int
    size: int
    fault: str | None


class HeaderReader:
    """A `HeaderReader` reads headers of a tar, and refuses those that would fill the memory.

    Args:
        file: the tar.
    """

    def __init__(self, file: BinaryIO):
        self.file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes; raise `ReadError` if they are too many for a header."""
        if not 0 <= size <= MOST_OF_A_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self.file.read(size)


def members_of(path: Path) -> Iterator[Member]:
    """Yield the files in an uncompressed tar, in order, without folders.

    Args:
        path: the path of the tar.

    Raises:
        DataError: it is no uncompressed tar, is damaged or cut off, or goes on behind its end.
    """
    called = printable(path)
    with path.open("rb") as file:
        size = path.stat().st_size
        try:
            tar = tarfile.TarFile(fileobj=HeaderReader(file))  # type: ignore[arg-type]
            yield from read_headers(tar, size)
        except Exception as error:  # headers from strangers lead to many kinds of errors
            why = " ".join(str(error).split())
            raise DataError(
                f"{called} is not a whole uncompressed tar ({why}): copy or write it again."
            ) from None
        if why := fault_of_end(file, tar.offset):
            raise DataError(f"{called} {why}: copy or write it again.")


def read_headers(tar: tarfile.TarFile, size: int) -> Iterator[Member]:
    """Yield the files in a tar that is `size` bytes long; raise `ReadError` if it is damaged."""
    last = -1
    while (info := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # it would hold all of them
        if info.size < 0 or info.offset <= last:
            raise tarfile.ReadError(f"a member at byte {last} has a negative size")
        last = info.offset
        if info.isreg() and not info.issparse() and info.offset_data + info.size > size:
            raise tarfile.ReadError(f"it ends within {printable(info.name)}")
        if not info.isdir():
            yield Member(printable(info.name), info.offset_data, info.size, fault_of_member(info))


def fault_of_member(info: tarfile.TarInfo) -> str | None:
    """Return the end of a sentence on why a member cannot be read; None if it can."""
    if info.issparse():
        return "is stored with holes (as a sparse file) in its tar: store it whole"
    if info.islnk() or info.issym():
        return f"is a link to {printable(info.linkname)} in its tar: store the file itself"
    return None if info.isreg() else "is no regular file in its tar"


def fault_of_end(file: BinaryIO, end: int) -> str:
    """Say what is wrong behind the last member of a tar; return "" if there is only its end."""
    file.seek(end)
    found = 0
    while piece := file.read(BYTES_AT_ONCE):
        if piece.count(0) < len(piece):
            return f"is damaged at byte {end}, or has another tar behind its end"
        found += len(piece)
    return "" if found >= TAR_BLOCK else "is cut off: its end is missing"


def is_shown(name: str) -> bool:
    """Return whether a member is not hidden, as `._photo.jpg` of macOS is.

    >>> is_shown("./a/b.png"), is_shown("../b.png"), is_shown("a/._b.png")
    (True, True, False)
    """
    parts = (part for part in PurePosixPath(name).parts if part not in ("/", ".."))
    return not is_hidden(Path(*parts))


def name_in(path: str, member: str) -> str:
    """Return the name of a member with that of its tar before it.

    >>> name_in("shards/a.tar", "./b/c.png"), name_in("a.tar", "/c.png")
    ('shards/a.tar/b/c.png', 'a.tar/c.png')
    """
    return f"{path}/{PurePosixPath(member.lstrip('/'))}"


def is_compressed_tar(name: str) -> bool:
    """Return whether a name is that of a tar that is compressed as a whole."""
    return name.lower().endswith(COMPRESSED)


def compressed_tar_error(path: Path) -> DataError:
    """Return the error for a tar that is compressed as a whole."""
    return DataError(
        f"{printable(path)} is a compressed tar, in which an image can be found only by unpacking "
        f"all that is before it: unpack it to {TAR} once (images are compressed themselves)."
    )
