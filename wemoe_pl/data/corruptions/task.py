"""Define tasks with corrupted test images, which are made here or published on the hub."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import PIL
import scipy
from PIL import Image

from wemoe_pl import __version__
from wemoe_pl.data.corruptions.severities import (
    PUBLISHED_SEVERITY,
    REVISED,
    check_kind,
    corrupt,
    stream,
)
from wemoe_pl.data.tasks import Images, PaperTask, Split, VisionTask, hashed
from wemoe_pl.errors import ConfigError
from wemoe_pl.system.hub import HubFiles


@dataclass(frozen=True)
class CorruptedImages:
    """`CorruptedImages` corrupts each image of a split when it is asked for, always alike.

    Args:
        images: the images of the split.
        kind: the kind of corruption.
        severity: the severity, from 1 to 5.
        seed: the seed of the corruption.
        published_pixelate: the same as for `corrupt`.
    """

    images: Images
    kind: str
    severity: int = PUBLISHED_SEVERITY
    seed: int = 0
    published_pixelate: bool = False

    @property
    def labels(self) -> Sequence[int]:
        """Return the labels of the split, which no corruption changes."""
        return self.images.labels

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint of the split, and all that determines the corruption."""
        by_what = f"{__version__} {np.__version__} {scipy.__version__} {PIL.__version__}"
        return f"{self.images.fingerprint} corrupted: {self._what} by {by_what}"

    @property
    def identity(self) -> str:
        """Return a hash of the identity of the split and of the corruption."""
        return hashed("corrupted", self.images.identity, self._what)

    @property
    def _what(self) -> str:
        revision = " revised" if (self.kind, self.severity) in REVISED else ""
        return f"{self.kind} {self.severity} {self.seed} {self.published_pixelate}{revision}"

    def name(self, index: int) -> str:
        """Return the name of the image in the split."""
        return self.images.name(index)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        image, label = self.images[index]
        rng = stream(self.seed, self.kind, self.severity, index)
        return corrupt(image, self.kind, self.severity, rng, self.published_pixelate), label


@dataclass(frozen=True)
class CorruptedTask(VisionTask):
    """A `CorruptedTask` corrupts the test images of a task; the training images stay as they are.

    Args:
        task: the task whose test images are corrupted.
        kind: the kind of corruption: motion_blur, impulse_noise, gaussian_noise, pixelate,
            spatter, contrast or jpeg_compression.
        severity: the severity, from 1 to 5.
        seed: the seed of the corruption.
        published_pixelate: True if `pixelate` makes images of the published form, 32 × 32 pixels.
    """

    task: VisionTask
    kind: str
    severity: int = PUBLISHED_SEVERITY
    seed: int = 0
    published_pixelate: bool = False

    def __post_init__(self) -> None:
        check_kind(self.kind, self.severity, self.seed)

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the classes of the task."""
        return self.task.classes

    @property
    def orders(self) -> dict[str, tuple[str, ...]]:
        """Return the orders in which programs number the classes of the task."""
        return self.task.orders

    @property
    def prompts(self) -> tuple[str, ...]:
        """Return the prompts of the task."""
        return self.task.prompts

    def images(self, split: Split) -> Images:
        """Return the images of a split; the test images are corrupted."""
        images = self.task.images(split)
        if split == "train":
            return images
        return CorruptedImages(images, self.kind, self.severity, self.seed, self.published_pixelate)

    def hub_files(self, split: Split) -> HubFiles | None:
        """Return the request for the task's files on the hub; None if nothing is needed."""
        return self.task.hub_files(split)


@dataclass(frozen=True)
class Corruption:
    """A `Corruption` says how test images are corrupted: by its kind, its severity and its seed.

    Args:
        kind: the kind of corruption: motion_blur, impulse_noise, gaussian_noise, pixelate,
            spatter, contrast or jpeg_compression.
        severity: the severity, from 1 to 5; the paper's is 2.
        seed: the seed of the corruption.
        source: the origin of the images: "made" corrupts the task's own test images; "published"
            takes corrupted ones from the hub, for the paper's cars, resisc45, eurosat and gtsrb.
        published_pixelate: True if `pixelate` makes images of the published form: 32 × 32 pixels,
            whatever the size of the image.
    """

    kind: str
    severity: int = PUBLISHED_SEVERITY
    seed: int = 0
    source: Literal["made", "published"] = "made"
    published_pixelate: bool = False

    def __post_init__(self) -> None:
        check_kind(self.kind, self.severity, self.seed)
        if self.source == "published" and self.severity != PUBLISHED_SEVERITY:
            raise ConfigError(
                f"Corrupted images are published at severity {PUBLISHED_SEVERITY}, not "
                f"{self.severity}: `source: made` makes them at any severity."
            )

    def task(self, task: VisionTask) -> VisionTask:
        """Return the task with corrupted test images.

        Raises:
            ConfigError: there are no published corrupted images of the task.
        """
        if self.source == "made":
            return CorruptedTask(task, self.kind, self.severity, self.seed, self.published_pixelate)
        if not isinstance(task, PaperTask):
            raise ConfigError(
                f"No corrupted images of a {type(task).__name__} are published, only of the "
                "PaperTasks cars, resisc45, eurosat and gtsrb: `source: made` makes them from any "
                "images."
            )
        return replace(task, corruption=self.kind)
