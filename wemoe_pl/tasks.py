"""What a vision task is: its classes, and where the images of its splits live."""

import warnings
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from PIL import Image

from wemoe_pl.errors import DataError, did_you_mean

Split = Literal["train", "test"]
Corrupt = Literal["error", "skip"]
IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
SHOWN_AT_MOST = 5


class Images(Protocol):
    """A list of RGB images with labels: what every task gives for a split."""

    @property
    def labels(self) -> Sequence[int]:
        """The number of every image's class."""

    def __len__(self) -> int:
        """How many images there are."""

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """Image `index` and the number of its class."""


class VisionTask(ABC):
    """One classification task. Tasks are dataclasses of plain fields, as a YAML can hold them."""

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""

    @abstractmethod
    def images(self, split: Split) -> Images:
        """The images of a split.

        Raises:
            DataError: they are missing or cannot be read.
        """


@dataclass(frozen=True)
class ImageFolderTask(VisionTask):
    """A task whose images lie in folders, `SPLIT_FOLDER/class name/image.jpg`.

    Args:
        train: folder of labelled images to fine-tune on; not needed for adaptation.
        test: folder of images to adapt to and to score on.
        class_names: classes in label order; by default the sub-folders' names, sorted.
        corrupt: what to do about files that cannot be decoded: stop, or leave them out. Either
            way they are counted and named.
    """

    train: str | None = None
    test: str | None = None
    class_names: tuple[str, ...] | None = None
    corrupt: Corrupt = "error"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        if self.class_names:
            return self.class_names
        return tuple(
            sorted(
                p.name
                for p in self._folder("test" if self.test else "train").iterdir()
                if p.is_dir()
            )
        )

    def images(self, split: Split) -> Images:
        """The images of a split, in the order of their paths."""
        folder = self._folder(split)
        labels = {name: label for label, name in enumerate(self.classes)}
        paths = readable(list_images(folder), self.corrupt)
        for name, count in Counter(path.parent.name for path in paths).items():
            if name not in labels:
                raise DataError(
                    f"{folder} has {count} images of class '{name}', which the task lacks. "
                    f"{did_you_mean(name, labels)}"
                )
        present = {path.parent.name for path in paths}
        for name in labels:
            if name not in present:
                raise DataError(
                    f"{folder} has no images of class '{name}'. {did_you_mean(name, present)}"
                )
        return ImageFiles(paths, [labels[path.parent.name] for path in paths])

    def _folder(self, split: Split) -> Path:
        folder = self.train if split == "train" else self.test
        if folder is None:
            raise DataError(f"This task has no {split} images: give the folder as `{split}`.")
        if not Path(folder).is_dir():
            raise DataError(f"There is no folder {folder}: check `{split}` in the config.")
        return Path(folder)


class ImageFiles:
    """Image files, decoded to RGB when asked for."""

    def __init__(self, paths: Sequence[Path], labels: Sequence[int]):
        self.paths = list(paths)
        self.labels = list(labels)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return read_image(self.paths[index]), self.labels[index]


def list_images(folder: Path) -> list[Path]:
    """All image files below a folder, sorted; `DataError` when there is none."""
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}: check its path.")
    named = (p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    paths = sorted(p for p in named if p.is_file())
    if not paths:
        raise DataError(
            f"The folder {folder} has no images: check its path. "
            f"Images end in {', '.join(sorted(IMAGE_SUFFIXES))}."
        )
    return paths


def read_image(path: Path) -> Image.Image:
    """Decode one file to RGB; `DataError` names a file that cannot be decoded."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is not a readable image: {error}") from error


def readable(paths: Sequence[Path], corrupt: Corrupt) -> list[Path]:
    """Decode every file once; name and count those that fail, and skip them only when asked.

    Doing so first keeps batches a function of (seed, step) and costs one pass over the images.
    """
    with ThreadPoolExecutor() as pool:
        failed = {
            path for path, ok in zip(paths, pool.map(is_readable, paths), strict=True) if not ok
        }
    if not failed:
        return list(paths)
    named = name_some(str(path) for path in paths if path in failed)
    message = f"{len(failed)} of {len(paths)} images cannot be decoded: {named}."
    if corrupt == "error" or len(failed) == len(paths):
        raise DataError(f"{message} Repair or remove them, or set `corrupt: skip`.")
    warnings.warn(f"{message} They are skipped.", stacklevel=2)
    return [path for path in paths if path not in failed]


def is_readable(path: Path) -> bool:
    """Can this file be decoded to the last pixel?"""
    try:
        read_image(path)
    except DataError:
        return False
    return True


def name_some(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    listed = list(names)
    rest = len(listed) - SHOWN_AT_MOST
    return ", ".join(listed[:SHOWN_AT_MOST]) + (f" and {rest} more" if rest > 0 else "")
