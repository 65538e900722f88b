"""A stream in which the images of all tasks come mixed, in any proportion."""

import math
import zlib
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from wemoe_pl.data.streams import PreparedImages, StepBatches
from wemoe_pl.errors import ConfigError, did_you_mean

COUNTS = zlib.crc32(b"counts of a step")  # no task has such a name, whose order has its own seed


class MixedBatches(StepBatches):
    """Item i is the i-th step of an endless stream whose tasks are drawn, image by image.

    A step has `batch_size` images times the number of tasks, and of each task as many as are drawn:
    of some perhaps none, and then it has no batch of that task. How many follows from
    (seed, step), and a task's images come in the order in which they would come by themselves.

    Args:
        tasks: the images of each.
        batch_size: images per task and step, on average if all have the same weight.
        proportions: the weight of each task.
        seed: of all that is drawn.
        places: see `StepBatches`.
    """

    def __init__(
        self,
        tasks: Mapping[str, PreparedImages],
        batch_size: int,
        proportions: Mapping[str, float],
        seed: int,
        places: Mapping[str, NDArray[np.int64]] | None = None,
    ):
        super().__init__(tasks, batch_size, len(tasks), seed, places=places)
        weights = np.array([proportions.get(task, 0.0) for task in tasks], dtype=np.float64)
        weights /= weights.max()  # the sum of very large ones would be infinite
        self.shares = weights / weights.sum()
        self._before: list[NDArray[np.int64]] = [np.zeros(len(tasks), dtype=np.int64)]

    def counts(self, step: int) -> NDArray[np.int64]:
        """Draw the number of images of each task in a step."""
        stream = np.random.default_rng([self.seed, COUNTS, step])
        return stream.multinomial(self.batch_size * len(self.tasks), self.shares)

    def before(self, step: int) -> NDArray[np.int64]:
        """Count the images of each task in all steps before one."""
        while len(self._before) <= step:
            self._before.append(self._before[-1] + self.counts(len(self._before) - 1))
        return self._before[step]

    def positions(self, task: str, step: int) -> range:
        """Return which images of a task a step has, counted from the beginning of the stream."""
        place = list(self.tasks).index(task)
        return range(int(self.before(step)[place]), int(self.before(step + 1)[place]))


def check_proportions(proportions: Mapping[str, float], tasks: Iterable[str]) -> None:
    """Raise `ConfigError` unless every weight is a number from 0, of a task, and one is not 0.

    Args:
        proportions: the weight of each task.
        tasks: those that are streamed.
    """
    known = list(tasks)
    for task, weight in proportions.items():
        if task not in known:
            raise ConfigError(
                f"proportions has '{task}', which is none of the tasks of the stream. "
                f"{did_you_mean(task, known)}"
            )
        if not (math.isfinite(weight) and weight >= 0):
            raise ConfigError(f"proportions.{task} is {weight}: give a number from 0.")
    if not any(proportions.values()):
        raise ConfigError(
            "proportions has no task with a weight above 0: give one, or leave it out."
        )


def mixture_note(proportions: Mapping[str, float] | None) -> str:
    """Say how the tasks of a stream were mixed; an empty text if all came alike.

    >>> mixture_note({"mnist": 9, "dtd": 1})
    'The images of a step came mixed, by these weights: mnist 9, dtd 1.'
    """
    if proportions is None:
        return ""
    weights = ", ".join(f"{task} {weight:g}" for task, weight in proportions.items())
    return f"The images of a step came mixed, by these weights: {weights}."
