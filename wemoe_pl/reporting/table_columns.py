"""Choose the columns of a table of runs: the tasks, their means, and scores of unknown tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from wemoe_pl.model.task_inference import InferenceRule
from wemoe_pl.reporting.scored_runs import ScoredRun
from wemoe_pl.reporting.without_labels import label_free_columns, scored_tasks
from wemoe_pl.training.shown_metrics import ACCURACY, LABEL_FREE, ShownMetric

INFERRED_BY: Mapping[InferenceRule, str] = {
    "entropy": "entropy: the task whose head is the most certain",
    "routing": "routing: the task whose expert has the largest routing weight",
    "logit": (
        "logit: the task whose head has the largest logit, among the tasks that the image is "
        "routed to"
    ),
}


@dataclass(frozen=True)
class TableColumns:
    """A `TableColumns` holds the columns of a table of runs, in their order.

    Attributes:
        tasks: the tasks, one column each, followed by a column of their mean.
        metric: the metric that runs are compared by; with the accuracy, a normalized mean follows.
        means: other metrics, whose means over tasks are shown if the metric is not the accuracy.
        rules: the rules that tasks were inferred by; each column has the accuracy that one reaches.
    """

    tasks: Sequence[str]
    metric: ShownMetric
    means: Sequence[ShownMetric]
    rules: Sequence[InferenceRule]

    @property
    def titles(self) -> list[str]:
        """Return the titles of the columns."""
        normalized = ["normalized mean"] if self.metric is ACCURACY else []
        means = (metric.label for metric in self.means)
        unknown = (f"task unknown ({rule})" for rule in self.rules)
        return [*self.tasks, "mean", *normalized, *means, *unknown]

    @property
    def metrics(self) -> list[ShownMetric]:
        """Return the metric of each column, which says how its cells are written."""
        shares = len(self.titles) - len(self.means) - len(self.rules)
        return [*[self.metric] * shares, *self.means, *[ACCURACY] * len(self.rules)]

    @property
    def note(self) -> str:
        """Return a note on the columns of unknown tasks; "" if there are none."""
        if not self.rules:
            return ""
        return (
            "Task unknown: how often class and task are both right when the task of an image is "
            f"inferred ({'; '.join(INFERRED_BY[rule] for rule in self.rules)})."
        )


def columns_of(runs: Sequence[ScoredRun], metric: ShownMetric) -> TableColumns:
    """Choose the columns for the runs of one experiment, which are compared by a metric."""
    results = [run.results for run in runs]
    measured = {m for scores in results for m in label_free_columns(scores)}
    others = [m for m in LABEL_FREE if m in measured and m is not metric]
    inferred = [scores.get("unknown_task", {}) for scores in results]
    return TableColumns(
        tasks=scored_tasks(results[0]),
        metric=metric,
        means=[] if metric is ACCURACY else others,
        rules=[
            rule
            for rule in get_args(InferenceRule)
            if metric is ACCURACY
            and any(scores.get(rule, {}).get("mean") is not None for scores in inferred)
        ],
    )
