"""Define what a run has measured on its test images, and its model keeps for later answers."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

# The confidence below which an image is of none of the tasks, by rule and inferred task.
Thresholds = Mapping[str, Mapping[str, float]]
# The mean routing weights of the images of each task: a row of T for each block.
MeanRouting = Mapping[str, Sequence[Sequence[float]]]


class Measured(NamedTuple):
    """`Measured` holds what a classifier knows of the test images, on which its run has scored it.

    Attributes:
        thresholds: the confidence below which an image is of none of the tasks, by rule and
            inferred task; empty if nothing was calibrated.
        mean_routing: the mean routing weights of each task's images, a row of T for each block;
            empty without routers, or if they were not kept.
    """

    thresholds: Thresholds = {}  # noqa: RUF012 (nobody changes it)
    mean_routing: MeanRouting = {}  # noqa: RUF012
