"""Measure how long each stage of answering images takes, and say which of them is the bound."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

# The stages of a process that answers; the seconds of all but the first are its own.
DECODING, WAITING, MODEL, WRITING = "reading_and_decoding", "waiting_for_images", "model", "writing"
OF_THE_PROCESS = (WAITING, MODEL, WRITING)
MOST = 0.5  # the share from which a stage is called the bound

Seconds = Mapping[str, float]


class Stages:
    """`Stages` are stopwatches, one for each stage.

    Attributes:
        seconds: the seconds of each stage up to now.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys((DECODING, *OF_THE_PROCESS), 0.0)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time that a block takes to a stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - began


def sum_of(parts: Iterable[Seconds]) -> dict[str, float]:
    """Return the sum of the seconds of each stage."""
    total = Stages().seconds
    for seconds in parts:
        for stage in total:
            total[stage] += seconds.get(stage, 0.0)
    return total


def busy(seconds: Seconds) -> float:
    """Return the seconds in which processes answered, or waited for images to answer."""
    return sum(seconds[stage] for stage in OF_THE_PROCESS)


def rate(images: int, seconds: Seconds) -> float:
    """Return the images per second of one process."""
    return images / max(busy(seconds), 1e-9)


def shares(seconds: Seconds) -> dict[str, float]:
    """Return the share of each stage in the time of the processes that answered."""
    total = max(busy(seconds), 1e-9)
    return {stage: seconds[stage] / total for stage in OF_THE_PROCESS}


def speed_in_words(images: int, seconds: Seconds) -> str:
    """Say how many images a process has answered in a second, and which stage is the bound.

    >>> speed_in_words(100, {WAITING: 6.0, MODEL: 3.0, WRITING: 1.0, DECODING: 5.8})
    '10 images/s per process: 60 % waiting for images to be read and decoded (the bound), 30 % in \
the model, 10 % writing'
    """
    of = shares(seconds)
    words = {
        WAITING: "waiting for images to be read and decoded",
        MODEL: "in the model",
        WRITING: "writing",
    }
    parts = [
        f"{of[stage]:.0%} {text}{' (the bound)' if of[stage] > MOST else ''}".replace("%", " %")
        for stage, text in words.items()
    ]
    return f"{rate(images, seconds):.4g} images/s per process: {', '.join(parts)}"
