"""Images that are files of their own: the suffixes by which they are known, and what they hold."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from PIL import Image

from wemoe_pl.data.tasks.base import hashed
from wemoe_pl.data.tasks.decoding import IMAGE_FORMATS, READER, read_image
from wemoe_pl.data.tasks.file_names import printable

SAME_FORMATS = {"MPO": "JPEG", "DIB": "BMP"}  # of cameras with two lenses, and of old Windows
IMAGE_SUFFIXES = frozenset(
    suffix
    for suffix, form in Image.registered_extensions().items()
    if SAME_FORMATS.get(form, form) in IMAGE_FORMATS
)


class ImageFiles:
    """Image files, decoded when asked for."""

    def __init__(self, paths: Sequence[Path], labels: Sequence[int]):
        self.paths = list(paths)
        self.labels = list(labels)

    @property
    def fingerprint(self) -> str:
        """The paths, sizes and times of change of the files, and the version of their reader."""
        return hashed("files", file_facts(self.paths))

    @cached_property
    def identity(self) -> str:
        """The names and sizes that the files had when it was asked for first, and the labels."""
        return hashed("files", names_and_sizes(self.paths), self.labels)

    def name(self, index: int) -> str:
        """The path; see `printable`."""
        return printable(self.paths[index])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return read_image(self.paths[index]), self.labels[index]


def file_facts(files: Sequence[Path]) -> tuple[int, list[tuple[str, int, int]]]:
    """Return the facts that images depend on: reader, and their files' paths, sizes and times."""
    facts = [(str(p.resolve()), (s := p.stat()).st_size, s.st_mtime_ns) for p in files]
    return READER, facts


def names_and_sizes(files: Sequence[Path]) -> list[tuple[str, int]]:
    """The name of every file below the folder that has them all, and its size: copies agree."""
    if not files:
        return []
    folder = os.path.commonpath([path.absolute().parent for path in files])
    return [(p.absolute().relative_to(folder).as_posix(), p.stat().st_size) for p in files]
