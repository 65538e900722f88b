"""Define which suffixes the files of images have, and read images that are such files."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from PIL import Image

from wemoe_pl.data.tasks.base import hashed
from wemoe_pl.data.tasks.decoding import IMAGE_FORMATS, READER, read_image
from wemoe_pl.data.tasks.file_names import printable

SAME_FORMATS = {"MPO": "JPEG", "DIB": "BMP"}  # MPO: of cameras with two lenses; DIB: of old Windows
IMAGE_SUFFIXES = frozenset(
    suffix
    for suffix, form in Image.registered_extensions().items()
    if SAME_FORMATS.get(form, form) in IMAGE_FORMATS
)


class ImageFiles:
    """`ImageFiles` are image files, each decoded when it is asked for."""

    def __init__(self, paths: Sequence[Path], labels: Sequence[int]):
        self.paths = list(paths)
        self.labels = list(labels)

    @property
    def fingerprint(self) -> str:
        """Return a hash of the paths, sizes and times of change of the files, and of `READER`."""
        return hashed("files", file_facts(self.paths))

    @cached_property
    def identity(self) -> str:
        """Return a hash of the labels, and of the files' names and sizes at the first access."""
        return hashed("files", names_and_sizes(self.paths), self.labels)

    def name(self, index: int) -> str:
        """Return the path of the image as text; see `printable`."""
        return printable(self.paths[index])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return read_image(self.paths[index]), self.labels[index]


def file_facts(files: Sequence[Path]) -> tuple[int, list[tuple[str, int, int]]]:
    """Return the version of the reader, and the path, size and time of change of each file."""
    facts = [(str(p.resolve()), (s := p.stat()).st_size, s.st_mtime_ns) for p in files]
    return READER, facts


def names_and_sizes(files: Sequence[Path]) -> list[tuple[str, int]]:
    """Return the path of every file below their common folder, and its size: copies agree."""
    if not files:
        return []
    folder = os.path.commonpath([path.absolute().parent for path in files])
    return [(p.absolute().relative_to(folder).as_posix(), p.stat().st_size) for p in files]
