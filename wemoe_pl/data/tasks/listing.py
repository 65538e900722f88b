"""List the images below a folder, also behind links, and pass over other files."""

import os
from collections.abc import Container, Iterable, Iterator
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path

from wemoe_pl.data.tasks.file_names import name_some, printable
from wemoe_pl.data.tasks.image_files import IMAGE_SUFFIXES
from wemoe_pl.errors import DataError
from wemoe_pl.system.near_paths import did_you_mean_path
from wemoe_pl.system.warn import warn

# Names, in small letters and without a leading dot, that systems and network drives leave next to
# images.
DEBRIS = frozenset((
    "#recycle", "#snapshot", "$recycle.bin", "@eadir", "@recently-snapshot", "@recycle", "@tmp",
    "__macosx", "desktop.ini", "ehthumbs.db", "icon\r", "lost+found", "network trash folder",
    "recycler", "system volume information", "temporary items", "thumbs.db",
))  # fmt: skip


def list_images(folder: Path) -> list[Path]:
    """Return all image files below a folder, sorted; a warning counts and names other files.

    Raises:
        DataError: there is no such folder, it has no image, or it cannot be listed.
    """
    if not folder.is_dir():
        hint = printable(did_you_mean_path(folder))
        raise DataError(f"There is no folder {printable(folder)}: check its path.{hint}")
    paths = chosen(files_of(folder), IMAGE_SUFFIXES)
    if not paths:
        raise DataError(
            f"The folder {printable(folder)} has no images: check its path. "
            f"Images end in {', '.join(sorted(IMAGE_SUFFIXES))}."
        )
    return paths


def files_below(folder: Path, suffixes: Container[str]) -> list[Path]:
    """Return the files below a folder with one of some suffixes, sorted, without hidden ones."""
    return sorted(p for p in files_of(folder) if p.suffix.lower() in suffixes and p.is_file())


def chosen(files: Iterable[Path], suffixes: Container[str]) -> list[Path]:
    """Return the files with one of some suffixes, sorted; a warning counts and names the others."""
    there = set(files)
    paths = {p for p in there if p.suffix.lower() in suffixes and p.is_file()}
    if paths and (others := sorted(there - paths)):
        warn(
            f"{len(others)} of {len(there)} files are passed over, since they lack the suffix of "
            f"an image or are broken links: {name_some(map(printable, others))}."
        )
    return sorted(paths)


def matching_files(pattern: Path) -> list[Path]:
    """Return the files that match a pattern such as `photos/**/*.jpg`, or lie in matching folders.

    Unlike `glob`, it does not follow links that lead back, and a `*` does not match hidden names.
    """
    parts = list(pattern.parts)
    fixed = next((i for i, part in enumerate(parts) if has_magic(part)), len(parts))
    start = Path(*parts[:fixed])
    found = {start} if start.exists() else set()
    for part in parts[fixed:]:
        folders = [path for path in found if path.is_dir()]
        if part == "**":
            found = {below for path in folders for below, _, _ in walk(path, start)}
        elif has_magic(part):
            found = {below for path in folders for below in named(part, path, start)}
        else:
            found = {path / part for path in folders if (path / part).exists()}
    folders = [path for path in found if path.is_dir()]
    below = (file for path in folders for file in files_of(path, start))
    return [*found.difference(folders), *below]


def named(pattern: str, folder: Path, start: Path) -> list[Path]:
    """Return the entries of a folder whose names match a pattern."""
    _, folders, files = next(walk(folder, start))
    return [path for path in (*folders, *files) if fnmatchcase(path.name, pattern)]


def files_of(folder: Path, start: Path | None = None) -> Iterator[Path]:
    """Yield all files below a folder; see `walk`."""
    for _, _, files in walk(folder, start or folder):
        yield from files


def walk(folder: Path, start: Path) -> Iterator[tuple[Path, list[Path], list[Path]]]:
    """Yield a folder and all folders below it, also behind links, each with its folders and files.

    Args:
        folder: the folder to begin with.
        start: the folder where the whole search began. Folders between it and the current one are
            not entered again.

    Raises:
        DataError: a folder cannot be listed.
    """
    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        here = Path(place)
        folders[:] = [name for name in shown(folders) if not leads_back(here / name, start)]
        yield here, [here / name for name in folders], [here / name for name in shown(files)]


def refuse(error: OSError) -> None:
    """Raise `DataError` for a folder that cannot be listed."""
    raise DataError(
        f"The folder {printable(error.filename)} cannot be listed: {error.strerror}."
    ) from error


def shown(names: Iterable[str]) -> list[str]:
    """Return the names that are not hidden."""
    return [name for name in names if not is_hidden(Path(name))]


def leads_back(folder: Path, start: Path) -> bool:
    """Return whether a folder is, by a link, one of the folders on the way to it from `start`."""
    way = folder.parents[: len(folder.parts) - len(start.parts)]
    return any(map(folder.samefile, way))


def is_hidden(path: Path) -> bool:
    """Return whether a name in a path begins with a dot, or is one of `DEBRIS`."""
    return any(part.startswith(".") or part.casefold() in DEBRIS for part in path.parts)
