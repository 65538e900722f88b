"""List the images below a folder, and pass over other files."""

from collections.abc import Container, Iterable, Iterator
from pathlib import Path

from wemoe_pl.data.tasks.file_names import name_some, printable
from wemoe_pl.data.tasks.image_files import IMAGE_SUFFIXES
from wemoe_pl.data.tasks.walking import walk_files
from wemoe_pl.errors import DataError
from wemoe_pl.system.near_paths import did_you_mean_path
from wemoe_pl.system.warn import warn


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


def files_of(source: Path) -> Iterator[Path]:
    """Yield all files that a folder or a pattern stands for; see `walk_files`."""
    for found in walk_files(source):
        yield from map(found.folder.joinpath, found.names)
