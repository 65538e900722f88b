"""Choose a few images of every task or class to adapt a model on."""

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
    """`FewImages` chooses a number of images of every task or every class; by default all.

    A smaller number chooses a part of what a larger number chooses.

    Args:
        per_task: the number of images of every task.
        per_class: the number of images of every class; labels only choose them.

    >>> FewImages(per_class=5).note
    'Adapted on 5 images of every class, chosen by label; adapting used labels for nothing else.'
    """

    per_task: int | None = None
    per_class: int | None = None

    def __post_init__(self) -> None:
        """Refuse numbers below one, and both numbers at once."""
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
        """Return a note on the images that were adapted on; an empty text for all images."""
        if self.per_task is not None:
            return f"Adapted on {self.per_task} images of every task."
        if self.per_class is not None:
            return (
                f"Adapted on {self.per_class} images of every class, chosen by label; "
                "adapting used labels for nothing else."
            )
        return ""

    def places(self, images: PreparedImages, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """Choose the first images, or the first images of every class, in a given order.

        Args:
            images: the images of a task.
            order: the places of all images, in the order in which they are chosen, (n,).

        Returns:
            The places of the chosen images, sorted.

        Raises:
            ConfigError: there are fewer images, or an image has no label to choose by.
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
    """Raise `ConfigError` if an image has no label, and warn of classes with too few images.

    All images of such a class are used; the other classes still get the full number.

    Args:
        per_class: the number of images of every class that is asked for.
        labels: the labels of all images, (n,).
        name: the name of the images in messages.
    """
    if (labels == UNLABELLED).any():
        raise ConfigError(
            f"images_per_class is {per_class}, which chooses images by label, but not all {name} "
            "have labels: give images_per_task."
        )
    _, sizes = np.unique(labels, return_counts=True)
    if short := int((sizes < per_class).sum()):
        warn_once(
            f"images_per_class is {per_class}, but {short} of {len(sizes)} classes of the {name} "
            f"have fewer, the smallest class {sizes.min()}: all images of these classes are used."
        )


def first_of_each(labels: Sequence[int], count: int | None) -> list[int]:
    """Return the places of the first `count` images of every label, or of all if it is None.

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
