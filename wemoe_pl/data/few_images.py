"""The few images of every task that a model is adapted on, where not all are wanted."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wemoe_pl.data.streams import PreparedImages
from wemoe_pl.data.tasks import UNLABELLED
from wemoe_pl.errors import ConfigError, at_least
from wemoe_pl.system.warn import warn_once


@dataclass(frozen=True)
class FewImages:
    """A number of images, of every task or of every class; all of them if neither is given.

    Those of a small number are among those of a larger one.

    Args:
        per_task: how many of every task.
        per_class: how many of every class. Labels choose the images, and do nothing else.

    >>> FewImages(per_class=5).note
    'Adapted on 5 images of every class, which labels chose; nothing else looked at labels.'
    """

    per_task: int | None = None
    per_class: int | None = None

    def __post_init__(self) -> None:
        """Refuse fewer than one, and both at once."""
        if self.per_task is not None and self.per_class is not None:
            raise ConfigError(
                f"images_per_task is {self.per_task} and images_per_class is {self.per_class}: "
                "give one of them."
            )
        for name in ("per_task", "per_class"):
            if (count := getattr(self, name)) is not None:
                at_least(1, f"images_{name}", count)

    @property
    def note(self) -> str:
        """Say what was adapted on; an empty text if it was all images."""
        if self.per_task is not None:
            return f"Adapted on {self.per_task} images of every task."
        if self.per_class is not None:
            return (
                f"Adapted on {self.per_class} images of every class, which labels chose; nothing "
                "else looked at labels."
            )
        return ""

    def places(self, images: PreparedImages, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """Choose the first images, or the first of every class, in some order.

        Args:
            images: of a task.
            order: the places of all of them, (n,).

        Returns:
            The places of those that are chosen, from the first to the last.

        Raises:
            ConfigError: there are fewer images, or they have no labels to choose by.
        """
        if self.per_task is not None:
            if self.per_task > len(images):
                raise ConfigError(
                    f"images_per_task is {self.per_task}, and there are {len(images)} "
                    f"{images.name}: give {len(images)} at most, or leave it out to take all."
                )
            return np.sort(order[: self.per_task])
        if self.per_class is not None:
            labels = np.asarray(images.images.labels)
            check_enough(self.per_class, labels, images.name)
            return np.sort(order[first_of_each(labels[order].tolist(), self.per_class)])
        return np.sort(order)


def check_enough(per_class: int, labels: NDArray[np.int64], name: str) -> None:
    """Refuse images without labels, and warn of classes that have fewer than are asked for.

    These have as many as the data set has: the other classes need not go without for that.

    Args:
        per_class: how many are asked for.
        labels: of all images, (n,).
        name: of the images.
    """
    if (labels == UNLABELLED).any():
        raise ConfigError(
            f"images_per_class is {per_class}, and not all {name} have labels to choose by: give "
            "images_per_task."
        )
    _, sizes = np.unique(labels, return_counts=True)
    if short := int((sizes < per_class).sum()):
        warn_once(
            f"images_per_class is {per_class}, and {short} of {len(sizes)} classes of the {name} "
            f"have fewer, down to {sizes.min()}: of these, all images are adapted on."
        )


def first_of_each(labels: Sequence[int], count: int | None) -> list[int]:
    """The places of the first `count` of every label, or of all if that is None.

    >>> first_of_each([2, 0, 2, 2, 0], 1)
    [0, 1]
    """
    seen: Counter[int] = Counter()
    places = []
    for place, label in enumerate(labels):
        seen[label] += 1
        if count is None or seen[label] <= count:
            places.append(place)
    return places
