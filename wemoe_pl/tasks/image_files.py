"""Images that are files of their own."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from wemoe_pl.tasks.decoding import read_image


class ImageFiles:
    """Image files, decoded to RGB when asked for."""

    def __init__(self, paths: Sequence[Path], labels: Sequence[int]):
        self.paths = list(paths)
        self.labels = list(labels)

    @property
    def fingerprint(self) -> str:
        """The paths, sizes and times of change of the files."""
        facts = ((str(p.resolve()), (s := p.stat()).st_size, s.st_mtime_ns) for p in self.paths)
        return "files " + hashlib.sha256(repr(list(facts)).encode()).hexdigest()

    def name(self, index: int) -> str:
        """The path."""
        return str(self.paths[index])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return read_image(self.paths[index]), self.labels[index]
