"""Define the base of vision tasks: classes, prompts, and the images of the splits."""

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
    """`Images` is a list of RGB images with labels, which every task gives for a split."""

    @property
    def labels(self) -> Sequence[int]:
        """Return the number of every image's class, or `UNLABELLED`."""

    @property
    def fingerprint(self) -> str:
        """Return a text that changes with any image and with their order, as a key of caches."""

    @property
    def identity(self) -> str:
        """Return a text that identifies the images, their order and their labels.

        It is the same on every machine: neither absolute paths nor times are a part of it.
        """

    def name(self, index: int) -> str:
        """Return the name of image `index` in errors: its file, or its row."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """Return image `index` and its label; raise `DataError` if it cannot be decoded."""


def hashed(word: str, *facts: object) -> str:
    """Return a word and the SHA-256 of some facts, which are plain values."""
    return f"{word} {hashlib.sha256(repr(facts).encode()).hexdigest()}"


class VisionTask(ABC):
    """A `VisionTask` is a classification task: a dataclass of plain fields, as YAML can hold it."""

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Return the class names in label order; empty if only the task's head knows them."""

    @property
    def orders(self) -> dict[str, tuple[str, ...]]:
        """Return the orders in which programs number the classes, by program; {} if one is given.

        Only a head that does not name its classes depends on these orders.
        """
        return {}

    @property
    def prompts(self) -> tuple[str, ...]:
        """Return the templates of zero-shot prompts, with `{}` in the place of a class name."""
        return DEFAULT_TEMPLATES

    @abstractmethod
    def images(self, split: Split) -> Images:
        """Return the images of a split.

        Raises:
            DataError: the images are missing or cannot be read.
        """

    def hub_files(self, split: Split) -> HubFiles | None:
        """Return the request for a split's files on the hub; None if nothing is needed."""
        return None
