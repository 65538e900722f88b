"""Read the published tables, to show their rows next to our own without mixing the two."""

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
    # Digits are easier than letters, so this is another experiment.
    "20 tasks with EMNIST digits": TWENTY - {"emnist_letters"} | {"emnist_digits"},
}


@dataclass(frozen=True)
class PublishedRow:
    """A `PublishedRow` is one row of a published table.

    Attributes:
        suite: the suite as the file names it, such as clip-vit-b-32.
        checkpoint_family: the family of the fine-tuned checkpoints: one of `FAMILIES`, or
            `UNKNOWN_FAMILY`.
        experiment: the name of the experiment, such as "eight tasks".
        method: the method as its source names it.
        accuracy: the accuracy of each task, 0 to 1; empty if only the mean is known.
        mean: the mean accuracy, 0 to 1, as published, otherwise computed from `accuracy`.
        source: the publication that the row is from.
        seen: "source" if the row was read at its source, "second-hand" if it is quoted elsewhere.
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
        """Return the source, with a note if the row is quoted second-hand."""
        return self.source if self.seen == "source" else f"{self.source}, second-hand"


def published_rows(suite: str, experiment: str, family: str | None = None) -> list[PublishedRow]:
    """Find the published rows of an experiment.

    Args:
        suite: the name of one of our suites, such as "CLIP ViT-B/32".
        experiment: the name of the experiment; see `experiment_of`.
        family: the family of checkpoints; None for all, whose rows must not be compared.

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
    """Make a row; its mean is computed if none is published."""
    suite, family, experiment, method, source, seen = key
    published = scores.pop("mean", None)
    average = mean(scores) if published is None else published
    return PublishedRow(suite, family, experiment, method, scores, average, source, seen)


def experiment_of(results: Mapping[str, Any]) -> str | None:
    """Return the experiment of a `results.json` as the published tables name it, or None."""
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
