"""Define tasks whose images are in memory: lists, arrays, tensors or other libraries' data sets."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from wemoe_pl.data.tasks.base import DEFAULT_TEMPLATES, Images, Split, VisionTask, hashed
from wemoe_pl.data.tasks.damaged import WORTH_A_BAR
from wemoe_pl.data.tasks.given import HERE, Given
from wemoe_pl.data.tasks.labels import are_names, labels_of_names, labels_of_numbers
from wemoe_pl.data.tasks.missing_images import tell_gaps
from wemoe_pl.data.tasks.pixels import as_image
from wemoe_pl.errors import DataError, check_class_names
from wemoe_pl.system.console import progress

WITHIN = "the data set in memory"
# The metadata of fields that a config or a checkpoint cannot hold.
OF_MEMORY = {"plain": False}


@dataclass(frozen=True)
class InMemoryTask(VisionTask):
    """An `InMemoryTask` has its images in memory, or in a data set that a program has opened.

    A collection of images has a length, and gives image i for `images[i]`: a list; a tensor
    (n, C, H, W) or an array (n, H, W, C) of all images; a data set of torchvision, which gives
    pairs (image, label); or a data set of Hugging Face, which gives rows. An image is an image of
    Pillow's, the path of a file, an array (H, W) or (H, W, C), or a tensor (H, W) or (C, H, W), of
    bytes (uint8) or of numbers from 0 to 1. Images are resized and normalised like those of files:
    leave `Normalize` and random transforms out of a data set. All images are read once before a job
    begins, so that no unreadable image ends it later.

    Args:
        test: the images to adapt to and to score on.
        labels: the number or the name of the class of every image in `test`; None or -1 where it is
            not known. By default the labels that `test` gives itself, if it gives any.
        train: the labelled images to fine-tune on, as pairs or rows; not needed for adaptation.
        class_names: the classes in label order; by default those that a data set names.
        templates: the prompts for a zero-shot head, with `{}` in the place of the class name.
        image: the key of the images in rows; by default the only column of images.
        label: the key of the labels in rows; by default the only column that names classes.
    """

    test: Any = field(default=None, repr=False, compare=False, metadata=OF_MEMORY)
    labels: Any = field(default=None, repr=False, compare=False, metadata=OF_MEMORY)
    train: Any = field(default=None, repr=False, compare=False, metadata=OF_MEMORY)
    class_names: tuple[str, ...] | None = None
    templates: tuple[str, ...] = DEFAULT_TEMPLATES
    image: str | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        """Refuse class names that are no text, and images that are no collection."""
        check_class_names(self.class_names or (), "`class_names`", DataError)
        for split in ("test", "train"):
            if getattr(self, split) is not None:
                self._given(split)

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the class names in label order; empty if neither task nor data set has any."""
        splits = [split for split in ("test", "train") if getattr(self, split) is not None]
        named = (self._given(split).class_names for split in splits)
        return tuple(self.class_names or next(filter(None, named), ()))

    @property
    def prompts(self) -> tuple[str, ...]:
        """Return the `templates`."""
        return self.templates

    def images(self, split: Split) -> Images:
        """Return the images of a split, after all of them were read once."""
        return self._test_images if split == "test" else self._train_images

    @cached_property
    def _test_images(self) -> "InMemoryImages":
        return self._read("test", self.labels)

    @cached_property
    def _train_images(self) -> "InMemoryImages":
        return self._read("train", None)

    def _read(self, split: Split, labels: Any) -> "InMemoryImages":
        given = self._given(split)
        hashes, own = first_look(given)
        values = plain_labels(own if labels is None else labels)
        if len(values) != len(given):
            raise DataError(
                f"There are {len(values)} labels for {len(given)} images: give one per image."
            )
        numbers = self._numbers(values)
        if labels is not None or given.label is not None or any(v is not None for v in own):
            tell_gaps(numbers, self.classes, HERE)
        return InMemoryImages(given, numbers, hashes)

    def _numbers(self, values: Sequence[Any]) -> list[int]:
        """Return labels, which may be names, as numbers."""
        if not are_names(values):
            return labels_of_numbers(values, len(self.classes) or None, WITHIN)
        if not self.classes:
            raise DataError(
                f"{HERE} has labels that are names, and nothing tells their order: give all "
                "classes as `class_names`."
            )
        return labels_of_names(values, (self.classes,), WITHIN)

    def _given(self, split: str) -> Given:
        items = getattr(self, split)
        if items is None:
            raise DataError(
                f"This task has no {split} images: no file keeps images that were in memory, so "
                f"give them again, as `InMemoryTask({split}=…)`."
            )
        return Given.of(items, self.image, self.label)


class InMemoryImages:
    """`InMemoryImages` are images in memory, each converted to RGB when it is asked for.

    Args:
        given: the collection of images.
        labels: the label of every image.
        hashes: the hash of every image's pixels, as they were when it was first read.
    """

    def __init__(self, given: Given, labels: Sequence[int], hashes: Sequence[str]):
        self.given = given
        self.labels = list(labels)
        self.hashes = list(hashes)

    @property
    def fingerprint(self) -> str:
        """Return a hash that changes with every pixel."""
        return hashed("in memory", self.hashes)

    @property
    def identity(self) -> str:
        """Return a hash of the pixels and labels of all images."""
        return hashed("in memory", self.hashes, self.labels)

    def name(self, index: int) -> str:
        """Return the name of the image in errors: its place in the collection."""
        return name_of(index)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        image = as_image(self.given[index][0], self.name(index))
        if hash_of_image(image) != self.hashes[index]:
            raise DataError(
                f"{self.name(index)} has changed since it was first read: leave random transforms "
                "out of the data set, since a run must see the same image whenever it reads it."
            )
        return image, self.labels[index]


def first_look(given: Given) -> tuple[list[str], list[Any]]:
    """Read all images once, and return the hash of each image's pixels, and its label or None.

    Raises:
        DataError: there is no image, or an image cannot be read.
    """
    if not len(given):
        raise DataError(f"{HERE} has no images: give at least one.")
    places: Iterable[int] = range(len(given))
    if len(given) >= WORTH_A_BAR:
        places = progress(places, "Reading the images in memory", len(given))
    hashes, labels = [], []
    for place in places:
        image, label = given[place]
        hashes.append(hash_of_image(as_image(image, name_of(place))))
        labels.append(label)
    return hashes, labels


def name_of(index: int) -> str:
    """Return the name of an image in errors."""
    return f"Image {index} in memory"


def hash_of_image(image: Image.Image) -> str:
    """Return a hash of the size and the pixels of an image."""
    size = f"{image.width}x{image.height} ".encode()
    return hashlib.blake2b(size + image.tobytes(), digest_size=16).hexdigest()


def plain_labels(labels: Any) -> list[Any]:
    """Return labels of any form, such as a tensor, as a list of Python's numbers, names or None."""
    values = labels.tolist() if isinstance(labels, Tensor | np.ndarray) else list(labels)
    return [v.item() if isinstance(v, Tensor | np.generic) else v for v in values]
