"""Which files below a folder are images."""

from collections.abc import Container
from pathlib import Path

from wemoe_pl.errors import DataError

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)


def list_images(folder: Path) -> list[Path]:
    """All image files below a folder, sorted; `DataError` when there is none."""
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}: check its path.")
    paths = files_below(folder, IMAGE_SUFFIXES)
    if not paths:
        raise DataError(
            f"The folder {folder} has no images: check its path. "
            f"Images end in {', '.join(sorted(IMAGE_SUFFIXES))}."
        )
    return paths


def files_below(folder: Path, suffixes: Container[str]) -> list[Path]:
    """The files below a folder whose names end in certain ways, sorted; without hidden ones."""
    named = (p for p in folder.rglob("*") if p.suffix.lower() in suffixes)
    return sorted(p for p in named if p.is_file() and not is_hidden(p.relative_to(folder)))


def is_hidden(path: Path) -> bool:
    """Does a name in a path begin with a dot, as of what systems leave beside images?"""
    return any(part.startswith(".") for part in path.parts)
