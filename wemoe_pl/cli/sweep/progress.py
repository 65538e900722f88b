"""Print the progress of a sweep: the points that run, those that are done, and the time left."""

import math
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from wemoe_pl.cli.sweep.points import Point, last_words
from wemoe_pl.reporting.without_labels import compared_metric
from wemoe_pl.system.console import Console
from wemoe_pl.training.clock import duration_in_words
from wemoe_pl.training.metrics import mean


class SweepProgress:
    """A `SweepProgress` prints a line when a point of a sweep begins, and another when it ends.

    Args:
        points: the number of points of the sweep.
        left: the number of points that are still to be run.
        jobs: the number of points that run at a time.
        out: the folder of the sweep.
    """

    def __init__(self, points: int, left: int, jobs: int, out: Path):
        self.points, self.left, self.jobs = points, left, jobs
        self.done = points - left
        self._began: dict[Path, float] = {}
        self._seconds: list[float] = []
        logs = f" The output of each goes to {out}/POINT/log.txt." if left else ""
        tell(f"{self.so_far}.{logs}")

    @property
    def so_far(self) -> str:
        """Return the number of points that are done, in words; a failed one is not done."""
        return f"{self.done} of {self.points} points are done"

    def when_stopped(self, running: Sequence[Point]) -> str:
        """Return a sentence on what is done when a signal stops the sweep, and how to go on.

        Args:
            running: the points that have begun and not ended.
        """
        names = ", ".join(point.folder.name for point in running)
        midway = f", and {names} stopped midway" if names else ""
        return f"{self.so_far}{midway}: the same command goes on with what is left."

    def begin(self, point: Point) -> None:
        """Print that a point runs."""
        self._began[point.folder] = monotonic()
        tell(f"{point.folder.name} runs.")

    def end(self, point: Point, has_failed: bool) -> None:
        """Print the score of a point, how long it took, and how long the others will take."""
        began = self._began.pop(point.folder, None)
        if began is not None:  # a point that did not begin tells nothing about the time of others
            self._seconds.append(monotonic() - began)
        self.left -= 1
        self.done += not has_failed
        took = f" after {duration_in_words(self._seconds[-1])}" if began is not None else ""
        tell(f"{outcome(point, has_failed, took)}. {self.so_far}{self.time_left}.")

    @property
    def time_left(self) -> str:
        """Return an estimate, in words, of the time that is left; "" when all have ended."""
        if not (self.left and self._seconds):
            return ""
        rounds = math.ceil(self.left / self.jobs)
        seconds = rounds * sum(self._seconds) / len(self._seconds)
        return f", the others take about {duration_in_words(seconds)}"


def outcome(point: Point, has_failed: bool, took: str) -> str:
    """Return a line that says how a point has ended.

    Args:
        point: the point.
        has_failed: True if its command has failed; its results may then be of another config.
        took: the words on how long it ran, which follow its score.
    """
    results = None if has_failed else point.results
    if not results:
        return f"{point.folder.name}: failed{took}: {last_words(point).removesuffix('.')}"
    metric = compared_metric([results])
    score = metric.text(mean(results.get(metric.result, {})))
    return f"{point.folder.name}: mean {metric.title} {score} {metric.unit}{took}"


def tell(line: str) -> None:
    """Print a line without wrapping it."""
    Console().print(line, soft_wrap=True)
