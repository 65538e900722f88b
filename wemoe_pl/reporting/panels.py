"""Choose the few panels that Weights & Biases makes of a run by itself.

W&B makes a panel for every key that is not hidden, in a section named after the part of the key
before the first slash. All keys are logged, whether they are shown or not. Curves of single tasks
are hidden and drawn together. Values that a run has once are in its summary and in one table.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import wandb

from wemoe_pl.reporting.summary import accuracy_columns
from wemoe_pl.reporting.wandb_run import WandbRun
from wemoe_pl.reporting.without_labels import scored_tasks
from wemoe_pl.training.shown_metrics import SHOWN_METRICS, ShownMetric

STEP = "trainer/global_step"  # the axis that Lightning's logger gives every metric
# The sections, named after the questions that somebody who looks at a run asks.
ADAPTING, ROUTING = "Is it adapting?", "Who is routed where?"
COLLAPSING, WAS_RUN = "Is anything collapsing?", "What was run?"
# The metrics whose curves of single tasks are drawn together, by their panels.
GROUPED = {
    f"{ADAPTING}/entropy by task": "train/entropy",
    f"{ADAPTING}/accuracy by task": "val/acc",
    f"{COLLAPSING}/classes predicted by task": "val/diversity",
    f"{COLLAPSING}/information by task": "val/information",
}
ROUTING_PANEL = f"{ROUTING}/routing by block"
FIGURES_PANEL = f"{WAS_RUN}/figures by task"
SAMPLES_PANEL = f"{WAS_RUN}/samples"
# Keys of single tasks that are no metrics; a panel of all tasks shows them instead.
OF_TASKS = ("routing_map", "samples")


def define_metrics(logger: WandbRun, tasks: Sequence[str]) -> None:
    """Tell W&B the axis of every metric, to summarise its last and best value, and what to hide.

    Metrics are defined one by one, since W&B picks one at random of two patterns that overlap.
    """
    define = logger.experiment.define_metric
    for metric in SHOWN_METRICS:
        summary = "last,min" if metric.least_is_best else "last,max"
        shown = set(shown_keys(metric))
        for key in metric.keys(tasks):
            define(key, step_metric=STEP, summary=summary, hidden=key not in shown)
    tables = [f"{panel}_table" for panel in GROUPED]  # W&B draws the panels from these tables
    of_tasks = [f"{part}/{task}" for part in OF_TASKS for task in tasks]
    for key in ("epoch", "report/accuracy", *of_tasks, *tables):
        define(key, step_metric=STEP, hidden=True)


def shown_keys(metric: ShownMetric) -> Iterator[str]:
    """Return the keys of a metric's means in training and validation, which have their own panels.

    >>> [list(shown_keys(metric)) for metric in SHOWN_METRICS if metric.name == "acc"]
    [['val/acc']]
    """
    return (metric.key_in(stage) for stage in metric.stages if stage in ("train", "val"))


def log_groups(
    logger: WandbRun, curves: Mapping[str, Mapping[int, float]], tasks: Sequence[str], step: int
) -> None:
    """Draw the curves of single tasks together, a panel per metric.

    Args:
        logger: the logger that is written to.
        curves: the values by metric and step; curves of a single point are left out.
        tasks: the tasks.
        step: the step at which the panels are logged.
    """
    for panel, key in GROUPED.items():
        found = {task: curves.get(f"{key}/{task}", {}) for task in tasks}
        drawn = {task: points for task, points in found.items() if len(points) > 1}
        if drawn:
            chart = wandb.plot.line_series(
                xs=[list(points) for points in drawn.values()],
                ys=[list(points.values()) for points in drawn.values()],
                keys=list(drawn),
                title=panel.rpartition("/")[2].capitalize(),
                xname="step",
            )
            logger.experiment.log({panel: chart, STEP: step})


def figures_by_task(results: Mapping[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """Return the columns and a row per task: the accuracies of all methods, and other metrics.

    Args:
        results: the contents of `results.json`.
    """
    accuracies = accuracy_columns(results)
    others = {
        metric.title: results[metric.result]
        for metric in SHOWN_METRICS
        if metric.score and metric.name != "acc" and results.get(metric.result)
    }
    columns = {**{f"accuracy, {name}": c for name, c in accuracies.items()}, **others}
    rows = [[task, *(c.get(task) for c in columns.values())] for task in scored_tasks(results)]
    return ["task", *columns], rows
