"""The choice of a sweep: the setting of the largest information, for which no label is needed."""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, TypeAlias

from wemoe_pl.cli.sweep.grid import short_names
from wemoe_pl.cli.sweep.points import Point
from wemoe_pl.cli.sweep.records import Choice, read_choice, settings_in
from wemoe_pl.errors import CheckpointError
from wemoe_pl.reporting.table import Cell
from wemoe_pl.system.files import atomic_write
from wemoe_pl.training.metrics import mean

SEED = "seed_everything"
# The points that have finished, each with its `results.json`.
Finished: TypeAlias = Sequence[tuple[Point, Mapping[str, Any]]]


@dataclass(frozen=True)
class Setting:
    """A setting of the grid, and the runs that are of it: one per seed.

    Args:
        values: by key, without the seed.
        runs: those that have finished.
    """

    values: dict[str, str]
    runs: list[tuple[Point, Mapping[str, Any]]]

    @property
    def points(self) -> list[Point]:
        """The points that have an information."""
        return [point for point, results in self.runs if information(results) is not None]

    @property
    def scores(self) -> list[float]:
        """The information of each of them."""
        scores = (information(results) for _, results in self.runs)
        return [score for score in scores if score is not None]

    @property
    def information(self) -> float:
        """The mean over seeds."""
        return fmean(self.scores)

    @property
    def in_words(self) -> str:
        """The values and the score, for a line below the table."""
        names = short_names(list(self.values))
        values = ", ".join(f"{names[key]} {value}" for key, value in self.values.items())
        seeds = f", the mean of {len(self.points)} seeds" if len(self.points) > 1 else ""
        score = f"information {Cell.of(self.scores).text}{seeds}"
        return f"{values} ({score})" if values else score


def information(results: Mapping[str, Any]) -> float | None:
    """Compute the score of a run that needs no labels: its mean over tasks."""
    return mean(results.get("information", {}))


def by_setting(finished: Finished) -> list[Setting]:
    """Put the points of equal values together, whatever their seed."""
    settings: dict[tuple[str, ...], Setting] = {}
    for point, results in finished:
        values = {key: value for key, value in point.settings.items() if key != SEED}
        setting = settings.setdefault(tuple(values.values()), Setting(values, []))
        setting.runs.append((point, results))
    return list(settings.values())


def choose(finished: Finished) -> Setting | None:
    """Choose the setting of the largest information, in the mean over its seeds.

    Where some were run by fewer seeds than others, a warning says so.

    Returns:
        The setting; None if no point has an information.
    """
    settings = [setting for setting in by_setting(finished) if setting.scores]
    if not settings:
        return None
    seeds = {len(setting.points) for setting in settings}
    if len(seeds) > 1:
        warnings.warn(
            f"The settings were compared by means over {min(seeds)} to {max(seeds)} seeds: some "
            "points have not finished. The same command runs them.",
            stacklevel=2,
        )
    return max(settings, key=lambda setting: setting.information)


def write_choice(path: Path, chosen: Setting) -> str:
    """Write the chosen setting, its folders and its score.

    Returns:
        A sentence on what was chosen before, if that was another setting, and else nothing.
    """
    try:
        before = read_choice(path)
    except CheckpointError as error:
        before = None
        warnings.warn(f"{error} It is written anew.", stacklevel=2)
    folders = [str(point.folder) for point in chosen.points]
    about = Choice(folder=folders[0], folders=folders, information=chosen.information)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps({**chosen.values, **about}, indent=2) + "\n")
    if before is None:
        return ""
    values = {key: value for key, value in settings_in(before).items() if key != SEED}
    is_same = values == chosen.values
    return "" if is_same else f"Chosen before was {before['folder']}."
