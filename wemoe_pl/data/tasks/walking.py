"""Walk the files that a folder or a pattern stands for, also behind links, folder by folder."""

import os
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path
from typing import NamedTuple

from wemoe_pl.data.tasks.file_names import printable
from wemoe_pl.errors import DataError

# Names, in small letters and without a leading dot, that systems and network drives leave next to
# images.
DEBRIS = frozenset((
    "#recycle", "#snapshot", "$recycle.bin", "@eadir", "@recently-snapshot", "@recycle", "@tmp",
    "__macosx", "desktop.ini", "ehthumbs.db", "icon\r", "lost+found", "network trash folder",
    "recycler", "system volume information", "temporary items", "thumbs.db",
))  # fmt: skip
Places = frozenset[int]  # how many parts of a pattern a path may have matched; see `matched`


class FolderFiles(NamedTuple):
    """The files of a folder are its names that match, in order.

    Attributes:
        folder: the folder.
        names: the names of its files that match, sorted.
        broken: the names of entries that are neither files nor folders, such as broken links.
        changed: the time of the folder's last change in nanoseconds, as it was before the listing.
    """

    folder: Path
    names: list[str]
    broken: frozenset[str]
    changed: int


def walk_files(source: Path) -> Iterator[FolderFiles]:
    """Yield the folders below a folder or a pattern, each with its files that match, in order.

    Unlike with `glob`, a `*` matches no hidden names, and no links that lead back are followed.

    Args:
        source: a folder, which stands for all files below it, or a pattern such as
            `photos/**/*.jpg`, which also stands for all files below the folders that match.

    Raises:
        DataError: a folder cannot be listed.
    """
    parts = source.parts
    magic = (i for i, part in enumerate(parts) if has_magic(part))
    fixed = len(parts) if source.is_dir() else next(magic, len(parts))
    start, pattern = Path(*parts[:fixed]), parts[fixed:]
    if not start.is_dir():
        return
    pending = [(start, with_skipped({0}, pattern))]
    while pending:
        folder, places = pending.pop()
        folders, files, broken, changed = entries_of(folder)
        names = sorted(n for n in files if len(pattern) in matched(places, n, pattern))
        yield FolderFiles(folder, names, broken, changed)
        for name in sorted(folders, reverse=True):
            below = matched(places, name, pattern)
            if below and not leads_back(folder / name, start):
                pending.append((folder / name, below))


def matched(places: Places, name: str, pattern: Sequence[str]) -> Places:
    """Return the places in a pattern after one more name.

    Args:
        places: the places in the pattern before the name. At a place p, the first p parts are
            matched; what lies below a path that matches all of them belongs to it.
        name: the name of a file or a folder.
        pattern: the parts of the pattern.
    """
    hidden = is_hidden(Path(name))
    found = set()
    for place in places:
        part = pattern[place] if place < len(pattern) else "**"
        if part == "**":
            found |= set() if hidden else {place}
        elif fnmatchcase(name, part) and not hidden if has_magic(part) else name == part:
            found.add(place + 1)
    return with_skipped(found, pattern)


def with_skipped(places: Iterable[int], pattern: Sequence[str]) -> Places:
    """Add the places behind each `**`, which may stand for no folder at all."""
    found = set(places)
    for place in range(len(pattern)):
        if place in found and pattern[place] == "**":
            found.add(place + 1)
    return frozenset(found)


def entries_of(folder: Path) -> tuple[list[str], list[str], frozenset[str], int]:
    """Return the names in a folder, and when it was last changed.

    Returns:
        The names of its folders, of its other entries, and of those of these that are no files;
        and the time of its last change in nanoseconds.
    """
    folders: list[str] = []
    files: list[str] = []
    broken: list[str] = []
    try:
        changed = folder.stat().st_mtime_ns
        with os.scandir(folder) as entries:
            for entry in entries:
                is_dir, is_file = kind_of(entry)
                (folders if is_dir else files).append(entry.name)
                if not (is_dir or is_file):
                    broken.append(entry.name)
    except OSError as error:
        refuse(error)
    return folders, files, frozenset(broken), changed


def kind_of(entry: os.DirEntry[str]) -> tuple[bool, bool]:
    """Return whether an entry is a folder, and whether it is a file, or a link to such.

    Most systems list the kinds with the names, so that the files themselves are not looked at.
    """
    try:
        return entry.is_dir(), entry.is_file()
    except OSError:  # a link that leads in a circle
        return False, False


def refuse(error: OSError) -> None:
    """Raise `DataError` for a folder that cannot be listed."""
    raise DataError(
        f"The folder {printable(error.filename)} cannot be listed: {error.strerror}."
    ) from error


def leads_back(folder: Path, start: Path) -> bool:
    """Return whether a folder is, by a link, one of the folders on the way to it from `start`."""
    way = folder.parents[: len(folder.parts) - len(start.parts)]
    return any(map(folder.samefile, way))


def is_hidden(path: Path) -> bool:
    """Return whether a name in a path begins with a dot, or is one of `DEBRIS`."""
    return any(part.startswith(".") or part.casefold() in DEBRIS for part in path.parts)
