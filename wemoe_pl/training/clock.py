"""Measure how long each stage of a run takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn


def duration_in_words(seconds: float) -> str:
    """Write a duration in the two largest units that matter.

    >>> duration_in_words(42.4), duration_in_words(100), duration_in_words(7500)
    ('42 s', '1 min 40 s', '2 h 5 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class StageClock(L.Callback):
    """A `StageClock` measures the wall-clock time of the stages of a run.

    Attributes:
        seconds: the duration of each stage that has ended, in seconds.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Start the clock; a stage that builds the classifier includes the time of building."""
        self._started = perf_counter()

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Record how long the stage took."""
        self.seconds[TrainerFn(stage).value] = self.elapsed

    @property
    def elapsed(self) -> float:
        """Return the seconds of this stage so far, with those of the run that it resumes."""
        return perf_counter() - self._started

    def resume(self, seconds: float) -> None:
        """Add the seconds that the stage had taken before it was interrupted."""
        self._started -= seconds

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time of a block to that of a stage."""
        started = perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + perf_counter() - started
