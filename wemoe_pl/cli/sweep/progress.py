"""The progress of a sweep: which points run, how many are done, and how long the others take."""

import math
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from wemoe_pl.cli.sweep.points import Point, last_words
from wemoe_pl.reporting.table import percent
from wemoe_pl.system.console import Console
from wemoe_pl.training.clock import duration_in_words


class SweepProgress:
    """Says in a line when a point of a sweep begins, and in another how it has ended.

    Args:
        points: how many the sweep has.
        left: how many of them are to be run.
        jobs: how many run at a time.
        out: the folder of the sweep.
    """

    def __init__(self, points: int, left: int, jobs: int, out: Path):
        self.points, self.left, self.jobs = points, left, jobs
        self.done = points - left
        self._began: dict[Path, float] = {}
        self._seconds: list[float] = []
        logs = f" What each prints goes to {out}/POINT/log.txt." if left else ""
        tell(f"{self.so_far}.{logs}")

    @property
    def so_far(self) -> str:
        """Count the points that are done; one that failed is run again by the same command."""
        return f"{self.done} of {self.points} points are done"

    def when_stopped(self, running: Sequence[Point]) -> str:
        """Say what is done when a signal comes, what is not, and what becomes of it.

        Args:
            running: the points that had begun and not ended.
        """
        names = ", ".join(point.folder.name for point in running)
        midway = f", and {names} stopped midway" if names else ""
        return f"{self.so_far}{midway}: the same command goes on with what is left."

    def begin(self, point: Point) -> None:
        """Say that a point runs."""
        self._began[point.folder] = monotonic()
        tell(f"{point.folder.name} runs.")

    def end(self, point: Point, has_failed: bool) -> None:
        """Say what a point came to, how long it took, and how long the others will."""
        began = self._began.pop(point.folder, None)
        if began is not None:  # one that could not begin has not said what a point takes
            self._seconds.append(monotonic() - began)
        self.left -= 1
        self.done += not has_failed
        took = f" after {duration_in_words(self._seconds[-1])}" if began is not None else ""
        tell(f"{outcome(point, has_failed, took)}. {self.so_far}{self.time_left}.")

    @property
    def time_left(self) -> str:
        """Estimate the time that is left by how long points took; nothing when all have ended."""
        if not (self.left and self._seconds):
            return ""
        rounds = math.ceil(self.left / self.jobs)
        seconds = rounds * sum(self._seconds) / len(self._seconds)
        return f", the others take about {duration_in_words(seconds)}"


def outcome(point: Point, has_failed: bool, took: str) -> str:
    """Say how a point has ended.

    Args:
        point: the point, of which results that are there may be of another config.
        has_failed: has its command failed?
        took: how long it ran, to follow on what it came to.
    """
    results = None if has_failed else point.results
    scored = f"mean {percent(results['mean'])}{took}" if results else ""
    ending = scored or f"failed{took}: {last_words(point)}"
    return f"{point.folder.name}: {ending.removesuffix('.')}"


def tell(line: str) -> None:
    """Print a line, however long it is, as one."""
    Console().print(line, soft_wrap=True)
