"""Choose the metric that runs are compared by, and make the tables of label-free scores."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table

from wemoe_pl.reporting.markdown import grid
from wemoe_pl.training.metrics import mean
from wemoe_pl.training.references import EXPERTS
from wemoe_pl.training.shown_metrics import (
    ACCURACY,
    AGREEMENT,
    CERTIFICATE,
    INFORMATION,
    LABEL_FREE,
    SHOWN_METRICS,
    ShownMetric,
)

Columns = dict[ShownMetric, Mapping[str, float]]


def compared_metric(runs: Iterable[Mapping[str, Any]]) -> ShownMetric:
    """Return the metric that runs are compared by: accuracy, or the metric that stands in for it.

    It is the first that any of the runs has: accuracy, agreement with the experts, information.

    Args:
        runs: the contents of the runs' `results.json`.
    """
    runs = list(runs)
    is_known = any(run["accuracy"] for run in runs)
    return ACCURACY if is_known else stand_in(runs) or ACCURACY


def stand_in(runs: Iterable[Mapping[str, Any]]) -> ShownMetric | None:
    """Return the metric that stands in for the accuracy; None if no such metric was measured."""
    measured = {metric for run in runs for metric in LABEL_FREE if run.get(metric.result)}
    return next((metric for metric in (AGREEMENT, INFORMATION) if metric in measured), None)


def compared_references(
    results: Mapping[str, Any], metric: ShownMetric
) -> Mapping[str, Mapping[str, float]]:
    """Return the values of a run's references in a metric, by their key, then by task.

    The experts are left out of an agreement, which would be that of the experts with themselves.
    """
    if metric is ACCURACY:
        return results.get("reference", {})
    known = results.get("reference_agreement", {}) if metric is AGREEMENT else {}
    return {key: values for key, values in known.items() if key != EXPERTS}


def scored_tasks(results: Mapping[str, Any]) -> list[str]:
    """List all tasks of a run; `tasks` of its results lacks unlabelled ones, if any has labels."""
    return list(dict.fromkeys([*results.get(INFORMATION.result, {}), *results["tasks"]]))


def unlabelled_tasks(results: Mapping[str, Any]) -> list[str]:
    """List the tasks that were scored without labels."""
    return [task for task in results.get(INFORMATION.result, {}) if task not in results["accuracy"]]


def unlabelled_note(results: Mapping[str, Any]) -> str:
    """Return a note on tasks without labels; "" if all tasks are like that, or none is.

    >>> unlabelled_note({"accuracy": {"mnist": 0.9}, "information": {"mnist": 0.8, "dtd": 0.7}})
    'The mean accuracies leave out dtd, whose images have no labels.'
    """
    tasks = unlabelled_tasks(results)
    if not (tasks and results["accuracy"]):
        return ""
    named = ", ".join(tasks)
    return f"The mean accuracies leave out {named}, whose images have no labels."


def adaptation_ends(
    curves: Mapping[str, Mapping[int, float]], restored_step: int | None
) -> dict[str, Any]:
    """Return the scores of a fit before its first step and in its final state, from its curves.

    Args:
        curves: the logged values, by metric and step.
        restored_step: the step whose state was restored in the end, if any.

    Returns:
        `before` and `after`, each with its `step`, and `scores` by result and task; {} for a fit
        that was not validated before its first step.
    """
    steps = sorted(curves.get(INFORMATION.key, {}))
    last = max(steps, default=None) if restored_step is None else restored_step
    if 0 not in steps or last not in steps:
        return {}
    return {
        name: {"step": step, "scores": scores_at(curves, step)}
        for name, step in {"before": 0, "after": last}.items()
    }


def scores_at(curves: Mapping[str, Mapping[int, float]], step: int) -> dict[str, dict[str, float]]:
    """Return the scores of the validation at a step, by result, then by task."""
    found: dict[str, dict[str, float]] = {}
    for metric in SHOWN_METRICS:
        prefix = f"{metric.key_in('val')}/"
        for key, points in curves.items() if metric.result else ():
            if key.startswith(prefix) and step in points:
                found.setdefault(metric.result, {})[key.removeprefix(prefix)] = points[step]
    return found


def label_free_columns(scores: Mapping[str, Any]) -> Columns:
    """Return the label-free metrics that were measured, with the scores of every task."""
    return {metric: scores[metric.result] for metric in LABEL_FREE if scores.get(metric.result)}


def with_certificate(columns: Columns) -> Columns:
    """Return the metrics, with the certificate that an agreement gives after the agreement.

    If a model and the expert give the same answer, both are right or both are wrong. So their
    accuracies differ by no more than the share of images on which their answers differ.
    """
    certified: Columns = {}
    for metric, values in columns.items():
        certified[metric] = values
        if metric is AGREEMENT:
            certified[CERTIFICATE] = {task: 1 - value for task, value in values.items()}
    return certified


def label_free_rows(columns: Columns) -> list[list[str]]:
    """Return a row per task, and a row of the means below, each metric in its unit."""
    tasks = dict.fromkeys(task for values in columns.values() for task in values)
    rows = [[task, *(m.text(values.get(task)) for m, values in columns.items())] for task in tasks]
    return [*rows, ["mean", *(m.text(mean(values)) for m, values in columns.items())]]


def change_rows(before: Columns, after: Columns) -> list[list[str]]:
    """Return the rows of two tables as one, with arrows from the first to the second."""
    return [
        [task, *(f"{old} → {new}" for old, new in zip(olds, news, strict=True))]
        for (task, *olds), (_, *news) in zip(
            label_free_rows(before), label_free_rows(after), strict=True
        )
    ]


def label_free_table(results: Mapping[str, Any]) -> Table:
    """Make the table of label-free scores, which a run prints if it has tasks without labels.

    Args:
        results: the contents of a `results.json`.
    """
    title, notes = f"Without labels, on {results['suite']}", [results.get("partial")]
    columns = with_certificate(label_free_columns(results))
    rows = label_free_rows(columns)
    if ends := results.get("adaptation"):
        columns, after = columns_of_ends(ends)
        rows = change_rows(columns, after)
        notes += [change_note(ends), results.get("curves")]
    notes += [CERTIFICATE.without_labels] if CERTIFICATE in columns else []
    below = "\n".join(filter(None, notes))
    table = Table(title=title, caption=below or None, min_width=len(title))
    table.add_column("task")
    for metric in columns:
        table.add_column(metric.label, justify="right")
    for place, row in enumerate(rows, start=2):
        table.add_row(*row, end_section=place == len(rows))
    return table


def columns_of_ends(ends: Mapping[str, Any]) -> tuple[Columns, Columns]:
    """Return the metrics of a fit before its first step and in its final state."""
    before, after = (label_free_columns(ends[name]["scores"]) for name in ("before", "after"))
    return with_certificate(before), with_certificate(after)


def change_note(ends: Mapping[str, Any]) -> str:
    """Return a note on the steps that the arrows of a table lead from and to."""
    return f"Arrows lead from step {ends['before']['step']} to step {ends['after']['step']}."


def label_free_section(results: Mapping[str, Any]) -> list[str]:
    """Return the paragraphs of a run's page on its label-free scores."""
    columns = with_certificate(label_free_columns(results))
    if not columns:
        return []
    paragraphs = [grid(["task", *(m.label for m in columns)], label_free_rows(columns))]
    if ends := results.get("adaptation"):
        before, after = columns_of_ends(ends)
        header = ["task", *(metric.label for metric in before)]
        paragraphs += [change_note(ends), grid(header, change_rows(before, after))]
    return [*paragraphs, " ".join(metric.without_labels for metric in columns)]
