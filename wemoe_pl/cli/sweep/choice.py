"""The choice of a sweep: the setting of the largest information, for which no label is needed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from wemoe_pl.cli.sweep.grid import short_names
from wemoe_pl.cli.sweep.points import Point
from wemoe_pl.cli.sweep.records import Choice, read_choice, settings_in
from wemoe_pl.errors import CheckpointError
from wemoe_pl.reporting.table import Cell
from wemoe_pl.system.files import atomic_write
from wemoe_pl.system.warn import warn
from wemoe_pl.training.metrics import mean

SEED = "seed_everything"
# The points that have finished, each with its `results.json`.
Finished: TypeAlias = Sequence[tuple[Point, Mapping[str, Any]]]


@dataclass(frozen=True)
class Setting:
    """A setting of the grid, and the points that are of it: one per seed.

    Args:
        values: by key, without the seed.
        points: those that have finished.
        scores: the information of each.
    """

    values: dict[str, str]
    points: list[Point]
    scores: list[float]

    @property
    def information(self) -> float:
        """The mean over seeds."""
        return sum(self.scores) / len(self.scores)

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


def choose(finished: Finished) -> Setting | None:
    """Choose the setting of the largest information, in the mean over its seeds.

    Where some were run by fewer seeds than others, a warning says so.

    Returns:
        The setting; None if no point has an information.
    """
    settings: dict[tuple[str, ...], Setting] = {}
    for point, results in finished:
        values = {key: value for key, value in point.settings.items() if key != SEED}
        score = information(results)
        if score is not None:
            setting = settings.setdefault(tuple(values.values()), Setting(values, [], []))
            setting.points.append(point)
            setting.scores.append(score)
    if not settings:
        return None
    seeds = {len(setting.points) for setting in settings.values()}
    if len(seeds) > 1:
        warn(
            f"The settings were compared by means over {min(seeds)} to {max(seeds)} seeds: some "
            "points have not finished. The same command runs them."
        )
    return max(settings.values(), key=lambda setting: setting.information)


def write_choice(path: Path, chosen: Setting) -> str:
    """Write the chosen setting, its folders and its score.

    Returns:
        A sentence on what was chosen before, if that was another setting, and else nothing.
    """
    try:
        before = read_choice(path)
    except CheckpointError as error:
        before = None
        warn(f"{error} It is written anew.")
    folders = [str(point.folder) for point in chosen.points]
    about = Choice(folder=folders[0], folders=folders, information=chosen.information)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps({**chosen.values, **about}, indent=2) + "\n")
    if before is None:
        return ""
    values = {key: value for key, value in settings_in(before).items() if key != SEED}
    is_same = values == chosen.values
    return "" if is_same else f"Chosen before was {before['folder']}."
