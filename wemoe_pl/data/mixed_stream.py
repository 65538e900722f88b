"""Define a stream that mixes the images of all tasks in any proportion."""

import math
import zlib
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from wemoe_pl.data.streams import PreparedImages, StepBatches
from wemoe_pl.errors import ConfigError, did_you_mean

COUNTS = zlib.crc32(b"counts of a step")  # no task has this name, so no order has this seed


class MixedBatches(StepBatches):
    """`MixedBatches` is an endless stream of steps; the task of every image of a step is drawn.

    The size of a step is `batch_size` times the number of tasks. The number of images of each task
    is drawn from (seed, step); if it is 0, the step has no batch of that task. The images of a task
    come in the same order as in `StepBatches`.

    Args:
        tasks: the images of each task.
        batch_size: the number of images per task and step, on average if all weights are equal.
        proportions: the weight of each task.
        seed: the seed of the numbers and of the order of the images.
        places: the same as for `StepBatches`.
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
        weights /= weights.max()  # the sum of very large weights would be infinite
        self.shares = weights / weights.sum()
        self._before: list[NDArray[np.int64]] = [np.zeros(len(tasks), dtype=np.int64)]

    def counts(self, step: int) -> NDArray[np.int64]:
        """Draw the number of images of each task in a step, (tasks,)."""
        stream = np.random.default_rng([self.seed, COUNTS, step])
        return stream.multinomial(self.batch_size * len(self.tasks), self.shares)

    def before(self, step: int) -> NDArray[np.int64]:
        """Return the number of images of each task in all steps before a step, (tasks,)."""
        while len(self._before) <= step:
            self._before.append(self._before[-1] + self.counts(len(self._before) - 1))
        return self._before[step]

    def positions(self, task: str, step: int) -> range:
        """Return the positions of a step's images of a task, counted from the stream's start."""
        place = list(self.tasks).index(task)
        return range(int(self.before(step)[place]), int(self.before(step + 1)[place]))


def check_proportions(proportions: Mapping[str, float], tasks: Iterable[str]) -> None:
    """Raise `ConfigError` unless every weight is 0 or more and of a task, and one is above 0.

    Args:
        proportions: the weight of each task.
        tasks: the tasks that are streamed.
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
    """Return a note on how the tasks of a stream were mixed; empty without proportions.

    >>> mixture_note({"mnist": 9, "dtd": 1})
    'The tasks were mixed in every step by these weights: mnist 9, dtd 1.'
    """
    if proportions is None:
        return ""
    weights = ", ".join(f"{task} {weight:g}" for task, weight in proportions.items())
    return f"The tasks were mixed in every step by these weights: {weights}."
