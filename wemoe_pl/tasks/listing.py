"""Which files below a folder are images, behind links too, and which are passed over."""

import os
import warnings
from collections.abc import Container, Iterable, Iterator
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path

from PIL import Image

from wemoe_pl.errors import DataError
from wemoe_pl.tasks.decoding import FORMATS
from wemoe_pl.tasks.file_names import name_some, printable

SAME_FORMATS = {"MPO": "JPEG"}  # what cameras of two lenses make
IMAGE_SUFFIXES = frozenset(
    suffix
    for suffix, form in Image.registered_extensions().items()
    if SAME_FORMATS.get(form, form) in FORMATS
)
# What systems and network drives leave beside images, under names without a dot, in small letters.
DEBRIS = frozenset(
    {
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "@eadir",
        "@recently-snapshot",
        "@recycle",
        "@tmp",
        "__macosx",
        "desktop.ini",
        "ehthumbs.db",
        "icon\r",
        "lost+found",
        "network trash folder",
        "recycler",
        "system volume information",
        "temporary items",
        "thumbs.db",
    }
)


def list_images(folder: Path) -> list[Path]:
    """All image files below a folder, sorted; other files are counted and named in a warning.

    Raises:
        DataError: there is no such folder, no image in it, or it cannot be listed.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder {printable(folder)}: check its path.")
    paths = chosen(files_of(folder), IMAGE_SUFFIXES)
    if not paths:
        raise DataError(
            f"The folder {printable(folder)} has no images: check its path. "
            f"Images end in {', '.join(sorted(IMAGE_SUFFIXES))}."
        )
    return paths


def files_below(folder: Path, suffixes: Container[str]) -> list[Path]:
    """The files below a folder whose names end in certain ways, sorted; without hidden ones."""
    return sorted(p for p in files_of(folder) if p.suffix.lower() in suffixes and p.is_file())


def chosen(files: Iterable[Path], suffixes: Container[str]) -> list[Path]:
    """The files whose names end in certain ways, sorted; a warning counts and names the others."""
    there = set(files)
    paths = {p for p in there if p.suffix.lower() in suffixes and p.is_file()}
    if paths and (others := sorted(there - paths)):
        warnings.warn(
            f"{len(others)} of {len(there)} files are passed over, for they have no suffix of an "
            f"image or are links to nothing: {name_some(map(printable, others))}.",
            stacklevel=3,
        )
    return sorted(paths)


def matching_files(pattern: Path) -> list[Path]:
    """The files that a pattern such as `photos/**/*.jpg` stands for, and those in its folders.

    Unlike those of `glob`, links that lead back end, and what is hidden is not found by a `*`.
    """
    parts = list(pattern.parts)
    fixed = next((i for i, part in enumerate(parts) if has_magic(part)), len(parts))
    start = Path(*parts[:fixed])
    found = {start} if os.path.lexists(start) else set()
    for part in parts[fixed:]:
        folders = [path for path in found if path.is_dir()]
        if part == "**":
            found = {below for path in folders for below in folders_below(path, start)}
        elif has_magic(part):
            inside = (path for folder in folders for path in entries(folder, start))
            found = {path for path in inside if fnmatchcase(path.name, part)}
        else:
            found = {path / part for path in folders if os.path.lexists(path / part)}
    folders = [path for path in found if path.is_dir()]
    return [*found.difference(folders), *(f for each in folders for f in files_of(each, start))]


def files_of(folder: Path, start: Path | None = None) -> Iterator[Path]:
    """All below a folder that is no folder itself; see `folders_below`."""
    start = start or folder
    for each in folders_below(folder, start):
        yield from (path for path in entries(each, start) if not path.is_dir())


def folders_below(folder: Path, start: Path) -> Iterator[Path]:
    """A folder and all below it, behind links too, but what is hidden.

    Args:
        folder: the first.
        start: from where the search has come to it: links that lead back to what lies on the way
            from there are not followed.
    """
    waiting = [folder]
    while waiting:
        yield (here := waiting.pop())
        waiting += [path for path in entries(here, start) if path.is_dir()]


def entries(folder: Path, start: Path) -> list[Path]:
    """What is in a folder, but what is hidden or leads back."""
    try:
        there = [path for path in folder.iterdir() if not is_hidden(Path(path.name))]
    except OSError as error:
        raise DataError(
            f"The folder {printable(folder)} cannot be listed: {error.strerror}."
        ) from error
    return [path for path in there if not leads_back(path, start)]


def leads_back(path: Path, start: Path) -> bool:
    """Is it a link to a folder that it lies in, on the way from `start`?"""
    way = path.parents[: len(path.parts) - len(start.parts)]
    return path.is_symlink() and path.is_dir() and any(map(path.samefile, way))


def is_hidden(path: Path) -> bool:
    """Is a name in a path one of what systems leave beside images, or does it begin with a dot?"""
    return any(part.startswith(".") or part.casefold() in DEBRIS for part in path.parts)
