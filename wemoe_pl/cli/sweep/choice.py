"""Choose the setting of a sweep that has the largest score, by a score that needs no labels."""

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
from wemoe_pl.system.files import atomic_rewrite
from wemoe_pl.training.metrics import mean
from wemoe_pl.training.shown_metrics import CHOSEN_BY, POOR_EXPERTS, LabelFreeScore

SEED = "seed_everything"
# The points that have finished, each with the contents of its `results.json`.
Finished: TypeAlias = Sequence[tuple[Point, Mapping[str, Any]]]


@dataclass(frozen=True)
class Setting:
    """A `Setting` holds the values of a setting in the grid, and its runs: one per seed.

    Args:
        values: the value of each key but the seed.
        runs: the points of the setting that have finished, with their results.
        score: the score that settings are compared by.
    """

    values: dict[str, str]
    runs: list[tuple[Point, Mapping[str, Any]]]
    score: LabelFreeScore = "information"

    @property
    def points(self) -> list[Point]:
        """Return the points that have the score."""
        return [p for p, results in self.runs if score_of(results, self.score) is not None]

    @property
    def scores(self) -> list[float]:
        """Return the score of each of `points`."""
        return self.all_of(self.score)

    @property
    def mean(self) -> float:
        """Return the mean of the score over seeds."""
        return fmean(self.scores)

    def all_of(self, score: LabelFreeScore) -> list[float]:
        """List a score of every run that has it."""
        scores = (score_of(results, score) for _, results in self.runs)
        return [value for value in scores if value is not None]

    @property
    def in_words(self) -> str:
        """Return the values and the score as text, for a line below the table."""
        names = short_names(list(self.values))
        values = ", ".join(f"{names[key]} {value}" for key, value in self.values.items())
        seeds = f", the mean of {len(self.points)} seeds" if len(self.points) > 1 else ""
        score = f"{self.score} {Cell.of(self.scores).text}{seeds}"
        return f"{values} ({score})" if values else score


def score_of(results: Mapping[str, Any], score: LabelFreeScore) -> float | None:
    """Return a label-free score of a run, the mean over tasks; None if the run lacks it."""
    return mean(results.get(CHOSEN_BY[score].result, {}))


def by_setting(finished: Finished, score: LabelFreeScore = "information") -> list[Setting]:
    """Group the finished points by all values but the seed, to compare the groups by a score."""
    settings: dict[tuple[str, ...], Setting] = {}
    for point, results in finished:
        values = {key: value for key, value in point.settings.items() if key != SEED}
        setting = settings.setdefault(tuple(values.values()), Setting(values, [], score))
        setting.runs.append((point, results))
    return list(settings.values())


def choose(finished: Finished, score: LabelFreeScore = "information") -> Setting | None:
    """Return the setting of the largest score, in the mean over its seeds.

    Warnings say which settings lack the score, that some have fewer seeds than others, and that
    an agreement does not tell which setting is best if the images are corrupted.

    Returns:
        The setting; None if no point has the score.
    """
    known = by_setting(finished, score)
    settings = [setting for setting in known if setting.scores]
    if not settings:
        return None
    if lacking := [setting for setting in known if not setting.scores]:
        folders = ", ".join(str(setting.runs[0][0].folder) for setting in lacking)
        warnings.warn(
            f"These have no {score}, and are left out of the choice: {folders}.", stacklevel=2
        )
    if score == "agreement" and any(results.get("corruption") for _, results in finished):
        warnings.warn(f"{POOR_EXPERTS} Choose by --select information.", stacklevel=2)
    seeds = {len(setting.points) for setting in settings}
    if len(seeds) > 1:
        warnings.warn(
            f"The settings were compared by means over {min(seeds)} to {max(seeds)} seeds, since "
            "some points have not finished: run the same command again to finish them.",
            stacklevel=2,
        )
    return max(settings, key=lambda setting: setting.mean)


def write_choice(path: Path, chosen: Setting) -> str:
    """Write the chosen setting, its folders and its score.

    Returns:
        A sentence on the setting that was chosen before; "" if it was the same or there was none.
    """
    try:
        before = read_choice(path)
    except CheckpointError as error:
        before = None
        warnings.warn(f"{error} It is written anew.", stacklevel=2)
    folders = [str(point.folder) for point in chosen.points]
    known = chosen.all_of("information")
    about = Choice(
        folder=folders[0],
        folders=folders,
        selected_by=chosen.score,
        information=fmean(known) if known else None,
    )
    if chosen.score == "agreement":
        about["agreement"] = chosen.mean
    with atomic_rewrite(path) as temporary:
        temporary.write_text(json.dumps({**chosen.values, **about}, indent=2) + "\n")
    if before is None:
        return ""
    values = {key: value for key, value in settings_in(before).items() if key != SEED}
    is_same = values == chosen.values
    return "" if is_same else f"The earlier choice was {before['folder']}."
