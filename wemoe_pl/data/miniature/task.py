"""Give the rendered tasks the interface of real data."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wemoe_pl import __version__
from wemoe_pl.data.miniature.canvas import Picture
from wemoe_pl.data.miniature.rendering import CLASSES, render_split
from wemoe_pl.data.tasks import Split, VisionTask, hashed
from wemoe_pl.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class MiniatureTask(VisionTask):
    """A `MiniatureTask` is one of the twenty rendered tasks, with the same interface as real data.

    Args:
        name: sun397, cars, resisc45, eurosat, svhn, gtsrb, mnist or dtd, of the first miniature
            suite; or one of the twelve that are in the second one only: flowers102, pcam, fer2013,
            pets, stl10, cifar100, cifar10, food101, fashion_mnist, emnist_letters, kmnist or
            rendered_sst2.
        train_size: the number of images of the training split.
        test_size: the number of images of the test split.
        seed: the seed of all images, from 0. The shipped models were trained with 0, and examined
            with its test images; another seed gives images that nobody has seen.
    """

    name: str
    train_size: int = 4000
    test_size: int = 400
    seed: int = 0

    def __post_init__(self) -> None:
        if self.name not in CLASSES:
            raise ConfigError(
                f"There is no miniature task {self.name!r}. {did_you_mean(self.name, CLASSES)}"
            )
        for split, size in (("train", self.train_size), ("test", self.test_size)):
            if size < len(self.classes):
                raise ConfigError(
                    f"A {split}_size of {size} is too small for '{self.name}': "
                    f"its {len(self.classes)} classes need one image each."
                )
        if self.seed < 0:
            raise ConfigError(
                f"The seed of '{self.name}' is {self.seed}: give the seed of its images as a "
                "whole number from 0."
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the class names in label order."""
        return CLASSES[self.name]

    def images(self, split: Split) -> "RenderedImages":
        """Render all images of a split; label i is i modulo the number of classes."""
        size = self.train_size if split == "train" else self.test_size
        facts = f"miniature {self.name} {split} {size} {self.seed}"
        return RenderedImages(*render_split(self.name, split, size, self.seed), facts, self.seed)


class RenderedImages:
    """`RenderedImages` are rendered pictures and their labels, given as PIL images.

    Args:
        pixels: the pixels of all pictures, (n, 28, 28, 3).
        labels: the labels of all pictures, (n,).
        facts: the facts that the pictures were rendered from, as text.
        seed: the seed of the pictures, which their identity names if it is not 0.
    """

    def __init__(self, pixels: Picture, labels: NDArray[np.int64], facts: str, seed: int = 0):
        self.pixels = pixels
        self.labels: list[int] = labels.tolist()
        self.facts = facts
        self.seed = seed

    @property
    def fingerprint(self) -> str:
        """Return the facts of the pictures, and the version of the package that renders them."""
        return f"{self.facts} {__version__}"

    @property
    def identity(self) -> str:
        """Return a hash of the facts of the pictures, and the seed if it is not 0.

        >>> MiniatureTask("mnist", 10, 10, seed=7).images("test").identity.partition(", ")[2]
        'seed 7'
        """
        hashes = hashed("miniature", self.facts)
        return f"{hashes}, seed {self.seed}" if self.seed else hashes

    def name(self, index: int) -> str:
        """Return the name of the image in errors."""
        return f"image {index} of {self.fingerprint}"

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self.pixels[index]), self.labels[index]
