"""The published tables, as package data: to be put beside one's own, and never mixed with them."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from wemoe_pl.data.corruptions.severities import PUBLISHED_SEVERITY
from wemoe_pl.data.tasks import PAPER_TASKS, TALL14_TASKS, TALL20_TASKS
from wemoe_pl.system.files import SHIPPED
from wemoe_pl.training.metrics import mean

ROBUSTNESS_TASKS = {"cars", "eurosat", "resisc45", "gtsrb"}
TWENTY = set(TALL20_TASKS)
LARGER = {
    "14 tasks": set(TALL14_TASKS),
    "20 tasks": TWENTY,
    "20 tasks with EMNIST digits": TWENTY - {"emnist_letters"} | {"emnist_digits"},  # easier
}


@dataclass(frozen=True)
class PublishedRow:
    """One row of a published table.

    Attributes:
        suite: as the file calls it, such as clip-vit-b-32.
        checkpoint_family: which fine-tuned checkpoints it was made with: one of `FAMILIES`, or
            `UNKNOWN_FAMILY`.
        experiment: such as "eight tasks".
        method: as its source calls it.
        accuracy: by task, 0 to 1; empty where only the mean is known.
        mean: 0 to 1, as published, or of the above.
        source: where it is from.
        seen: was it read at its "source", or is it quoted at "second-hand"?
    """

    suite: str
    checkpoint_family: str
    experiment: str
    method: str
    accuracy: dict[str, float]
    mean: float | None
    source: str
    seen: str

    @property
    def origin(self) -> str:
        """Return the source, and whether somebody else quotes it."""
        return self.source if self.seen == "source" else f"{self.source}, second-hand"


def published_rows(suite: str, experiment: str, family: str | None = None) -> list[PublishedRow]:
    """Find the published rows of an experiment.

    Args:
        suite: the name of one of ours, such as "CLIP ViT-B/32".
        experiment: see `experiment_of`.
        family: of the checkpoints; none gives the rows of all, which are not to be compared.

    >>> rows = published_rows("CLIP ViT-B/32", "eight tasks", "C")
    >>> [row.mean for row in rows if row.method == "WEMoE (depth 2)"]
    [0.892]
    """
    name = suite.lower().replace(" ", "-").replace("/", "-")
    rows = [row for row in all_rows() if (row.suite, row.experiment) == (name, experiment)]
    return [row for row in rows if family in (None, row.checkpoint_family)]


@cache
def all_rows() -> list[PublishedRow]:
    """Read all published rows, in the order of the file."""
    grouped: dict[tuple[str, ...], dict[str, float]] = {}
    with (SHIPPED / "published_results.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            parts = ("suite", "checkpoint_family", "experiment", "method", "source", "seen")
            key = tuple(line[part] for part in parts)
            grouped.setdefault(key, {})[line["task"]] = float(line["accuracy_percent"]) / 100
    return [make_row(key, dict(scores)) for key, scores in grouped.items()]


def make_row(key: tuple[str, ...], scores: dict[str, float]) -> PublishedRow:
    """Make a row, whose mean is computed where none is published."""
    suite, family, experiment, method, source, seen = key
    published = scores.pop("mean", None)
    average = mean(scores) if published is None else published
    return PublishedRow(suite, family, experiment, method, scores, average, source, seen)


def experiment_of(results: Mapping[str, Any]) -> str | None:
    """Name the experiment of a `results.json` as the published tables do; None if they lack it."""
    tasks, experts = set(results["tasks"]), set(results.get("experts", results["tasks"]))
    corruption = results.get("corruption")
    if tasks == ROBUSTNESS_TASKS == experts:
        if corruption is None:
            return "robustness: clean"
        at_published = corruption["severity"] == PUBLISHED_SEVERITY
        return f"robustness: {corruption['kind']}" if at_published else None
    unseen = tasks - experts
    if corruption is not None:
        return None
    if tasks != set(PAPER_TASKS):
        return next((n for n, of in LARGER.items() if tasks == experts == of), None)
    if not unseen:
        return "eight tasks"
    names = dict.fromkeys(row.experiment for row in all_rows())
    return next((n for n in names if set(n.partition("unseen ")[2].split(", ")) == unseen), None)
