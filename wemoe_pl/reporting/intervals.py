"""Compute confidence intervals of accuracies, which are measured on a limited number of images."""

import math
from collections.abc import Mapping

Interval = tuple[float, float]
TWO_SIDED_95 = 1.959964  # the quantile of a normal distribution at 97.5 %


def interval_of(accuracy: float, images: int) -> Interval:
    """Return Wilson's 95 % interval of an accuracy, 0 to 1, that was measured on some images.

    >>> low, high = interval_of(0.9, 100)
    >>> round(low, 3), round(high, 3)
    (0.826, 0.945)
    """
    z2 = TWO_SIDED_95**2 / images
    middle = (accuracy + z2 / 2) / (1 + z2)
    half = math.sqrt(z2 * (accuracy * (1 - accuracy) + z2 / 4)) / (1 + z2)
    return middle - half, middle + half


def interval_of_mean(accuracies: Mapping[str, float], images: Mapping[str, int]) -> Interval:
    """Return the 95 % interval of a mean over tasks, whose errors are independent.

    The distances from each accuracy to the bounds of its own interval are added in quadrature
    (Newcombe's way of adding Wilson's intervals).

    Args:
        accuracies: the accuracy of each task, 0 to 1.
        images: the number of images of each task that were scored.
    """
    own = {task: interval_of(accuracy, images[task]) for task, accuracy in accuracies.items()}
    mean = sum(accuracies.values()) / len(accuracies)
    below = math.hypot(*(accuracies[task] - low for task, (low, _) in own.items()))
    above = math.hypot(*(high - accuracies[task] for task, (_, high) in own.items()))
    return mean - below / len(own), mean + above / len(own)


def in_percent(interval: Interval) -> str:
    """Return an interval of shares as text in percent.

    >>> in_percent((0.826, 0.945))
    '82.6 to 94.5'
    """
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"
