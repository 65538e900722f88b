"""The base of vision tasks: classes, their prompts, and the images of their splits."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, Protocol

from PIL import Image

from wemoe_pl.system.hub import HubFiles

Split = Literal["train", "test"]
Corrupt = Literal["error", "skip"]
UNLABELLED = -1  # the label of an image that has none
DEFAULT_TEMPLATES = ("a photo of a {}.",)


class Images(Protocol):
    """A list of RGB images with labels: what every task gives for a split."""

    @property
    def labels(self) -> Sequence[int]:
        """The number of every image's class, or `UNLABELLED`."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever an image or their order does: what caches are keyed by."""

    @property
    def identity(self) -> str:
        """Return a text that identifies the images, their order and their labels.

        It is the same on every machine: neither absolute paths nor times are a part of it.
        """

    def name(self, index: int) -> str:
        """Return the name by which errors call image `index`: its file, or its row."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """Image `index` and its label; `DataError` if it cannot be decoded."""


def hashed(word: str, *facts: object) -> str:
    """A word and the SHA-256 of some facts, which are plain values."""
    return f"{word} {hashlib.sha256(repr(facts).encode()).hexdigest()}"


class VisionTask(ABC):
    """One classification task. Tasks are dataclasses of plain fields, as a YAML can hold them."""

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Class names in label order; empty if only the task's head knows them."""

    @property
    def orders(self) -> dict[str, tuple[str, ...]]:
        """The orders in which programs number the classes, by program; {} if one order is given.

        What names its classes does not depend on them. A head that has only weights does.
        """
        return {}

    @property
    def prompts(self) -> tuple[str, ...]:
        """Templates of zero-shot prompts, with `{}` in the place of a class name."""
        return DEFAULT_TEMPLATES

    @abstractmethod
    def images(self, split: Split) -> Images:
        """The images of a split.

        Raises:
            DataError: they are missing or cannot be read.
        """

    def hub_files(self, split: Split) -> HubFiles | None:
        """Return the request for a split's files on the hub; None if nothing is needed."""
        return None
