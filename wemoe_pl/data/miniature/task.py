"""The rendered tasks through the interface of real data."""

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
    """One of the eight rendered tasks, through the same interface as real data.

    Args:
        name: sun397, cars, resisc45, eurosat, svhn, gtsrb, mnist or dtd.
        train_size: images of the training split.
        test_size: images of the test split.
        seed: of all images.
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

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return CLASSES[self.name]

    def images(self, split: Split) -> "RenderedImages":
        """The images of a split, all rendered now; label i is i modulo the class count."""
        size = self.train_size if split == "train" else self.test_size
        facts = f"miniature {self.name} {split} {size} {self.seed}"
        return RenderedImages(*render_split(self.name, split, size, self.seed), facts)


class RenderedImages:
    """Pictures (n, 28, 28, 3) and their labels, served as PIL images.

    Args:
        pixels: of all pictures.
        labels: (n,).
        facts: what the pictures were rendered from.
    """

    def __init__(self, pixels: Picture, labels: NDArray[np.int64], facts: str):
        self.pixels = pixels
        self.labels: list[int] = labels.tolist()
        self.facts = facts

    @property
    def fingerprint(self) -> str:
        """Return the source of the pictures and the version that renders them."""
        return f"{self.facts} {__version__}"

    @property
    def identity(self) -> str:
        """Return the identity of the pictures: what they were rendered from."""
        return hashed("miniature", self.facts)

    def name(self, index: int) -> str:
        """Return the name by which errors call the image."""
        return f"image {index} of {self.fingerprint}"

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self.pixels[index]), self.labels[index]
