"""Summarise a sweep in a table, a plot, and a setting that is chosen without labels."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from wemoe_pl.cli.sweep.choice import SEED, Finished, Setting, by_setting, choose, write_choice
from wemoe_pl.cli.sweep.grid import folder_name, short_names
from wemoe_pl.cli.sweep.points import Point
from wemoe_pl.cli.sweep.progress import tell
from wemoe_pl.reporting.analysis import write_rows
from wemoe_pl.reporting.plots.sweep import plot_sweep
from wemoe_pl.reporting.table import Cell
from wemoe_pl.reporting.without_labels import (
    compared_metric,
    scored_tasks,
    unlabelled_note,
    unlabelled_tasks,
)
from wemoe_pl.system.console import Console
from wemoe_pl.training.metrics import mean
from wemoe_pl.training.shown_metrics import (
    AGREEMENT,
    CHOSEN_BY,
    LABEL_FREE,
    LabelFreeScore,
    ShownMetric,
)

UNLIMITED = 1000  # a width in characters that no table exceeds
OF_CHOICE = " ←"  # marks the points of the chosen setting
# Ends of the sentence that is printed if no point has a score.
LACKING: dict[LabelFreeScore, str] = {
    "information": "are chosen",
    "agreement": (
        "are to be chosen: set model.references to true and give --fresh, so that they are "
        "compared with the experts, or give --select information"
    ),
}


def summarise(
    points: Sequence[Point], keys: list[str], out: Path, score: LabelFreeScore | None = None
) -> None:
    """Print, write and draw the table of the points that have finished, if there are any.

    Args:
        points: the points of the sweep that have not failed.
        keys: the keys of the grid.
        out: the folder of `sweep.csv`, `sweep.png` and `chosen.json`.
        score: the label-free score that a setting is chosen by; None to choose none.
    """
    finished = [(point, results) for point in points if (results := point.results) is not None]
    if not finished:
        return
    chosen = choose(finished, score) if score else None
    by = CHOSEN_BY[score or "information"]
    print_whole(sweep_table(finished, keys, chosen.points if chosen else (), by))
    if len(settings := by_setting(finished, score or "information")) < len(finished):
        print_whole(means_table(settings, chosen, by))
    rows = [csv_row(point, results) for point, results in finished]
    header = list(dict.fromkeys(key for row in rows for key in row))
    write_rows(out / "sweep.csv", header, [[row.get(key) for key in header] for row in rows])
    draw(finished, keys, out)
    if chosen is not None:
        why = f"by the largest {chosen.score}, for which no label is needed"
        tell(f"{OF_CHOICE.strip()} Chosen {why}: {chosen.in_words}.")
        if changed := write_choice(out / "chosen.json", chosen):
            tell(changed)
    elif score:
        tell(
            f"Nothing was chosen: no point has the score {score}, by which settings "
            f"{LACKING[score]}."
        )


def print_whole(table: Table) -> None:
    """Print a table of any width without wrapping its cells."""
    Console(width=Console(width=UNLIMITED).measure(table).maximum).print(table)


def csv_row(point: Point, results: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line of `sweep.csv`, by column.

    Label-free metrics are given by their means over tasks, the agreement also by task.
    """
    agreement = results.get(AGREEMENT.result, {})
    return {
        **point.settings,
        **{f"accuracy/{task}": value for task, value in results["accuracy"].items()},
        "mean": results["mean"],
        "partial": results.get("partial"),
        **{metric.result: mean(results.get(metric.result, {})) for metric in LABEL_FREE},
        **{f"{AGREEMENT.result}/{task}": value for task, value in agreement.items()},
        **{f"seconds/{stage}": value for stage, value in results["seconds"].items()},
        "folder": str(point.folder),
    }


def sweep_table(
    finished: Finished, keys: list[str], chosen: Collection[Point], by: ShownMetric
) -> Table:
    """Return a table with a line per point: its settings, its scores, and a mark for the choice.

    The scores are the accuracy of every task or, if no image has a label, the metric that stands in
    for it. The means of label-free metrics follow; the last is the one that settings are chosen by.
    """
    runs = [results for _, results in finished]
    metric, others = compared_metric(runs), label_free_means(runs, by)
    tasks = list(dict.fromkeys(task for results in runs for task in scored_tasks(results)))
    table = Table(
        title=f"Sweep on {runs[0]['suite']}, {metric.title} in %", caption=below(runs, by)
    )
    for name in short_names(keys).values():
        table.add_column(name)
    for name in (*tasks, "mean", *(other.label for other in others)):
        table.add_column(name, justify="right")
    for point, results in finished:
        scores = results.get(metric.result, {})
        shown = [metric.text(scores.get(task)) for task in tasks] + [metric.text(mean(scores))]
        shown += [other.text(mean(results.get(other.result, {}))) for other in others]
        mark = OF_CHOICE if point in chosen else ""
        table.add_row(*point.settings.values(), *shown[:-1], shown[-1] + mark)
    return table


def means_table(settings: Sequence[Setting], chosen: Setting | None, by: ShownMetric) -> Table:
    """Return a table with a line per setting: the means over its seeds, by which it is chosen.

    Args:
        settings: the settings of a sweep.
        chosen: the setting that was chosen, if there is one.
        by: the metric that settings are chosen by.
    """
    runs = [results for setting in settings for _, results in setting.runs]
    metrics = list(dict.fromkeys([compared_metric(runs), *label_free_means(runs, by)]))
    table = Table(title="Means over seeds", caption="± is the standard deviation over seeds.")
    for name in short_names(list(settings[0].values)).values():
        table.add_column(name)
    for name in ("seeds", *(metric.label for metric in metrics)):
        table.add_column(name, justify="right")
    for setting in settings:
        shown = [
            Cell.of(
                [mean(results.get(metric.result, {})) for _, results in setting.runs],
                form=metric.text,
            ).text
            for metric in metrics
        ]
        mark = OF_CHOICE if setting == chosen else ""
        values = setting.values.values()
        table.add_row(*values, str(len(setting.runs)), *shown[:-1], shown[-1] + mark)
    return table


def label_free_means(runs: Sequence[Mapping[str, Any]], by: ShownMetric) -> list[ShownMetric]:
    """List the metrics that a table of runs shows after the scores by task, as means over tasks.

    The last is the metric of the choice. If all images have labels, there is no other one.
    """
    is_labelled = not any(map(unlabelled_tasks, runs))
    measured = [m for m in LABEL_FREE if any(run.get(m.result) for run in runs)]
    metric = compared_metric(runs)
    others = [] if is_labelled else [m for m in measured if m not in (by, metric)]
    return [m for m in (*others, by) if m is not metric]


def below(runs: Sequence[Mapping[str, Any]], by: ShownMetric) -> str:
    """Return the notes on the runs of a table, and on the metric that settings are chosen by."""
    notes = dict.fromkeys(run.get(key) for run in runs for key in ("note", "partial"))
    notes |= dict.fromkeys(map(unlabelled_note, runs))
    notes |= {by.without_labels: None}
    return "\n".join(filter(None, notes))


def draw(finished: Finished, keys: list[str], out: Path) -> None:
    """Plot the mean accuracy over the only key of the grid whose values are numbers.

    If no image has a label, the metric that stands in for the accuracy is plotted. Nothing is drawn
    if no key or several keys have numbers, not counting the seed.
    """
    numeric = [
        key
        for key in keys
        if key != SEED and all(is_number(point.settings[key]) for point, _ in finished)
    ]
    if len(numeric) != 1:
        return
    [key] = numeric
    metric = compared_metric(results for _, results in finished)
    lines: dict[str, dict[float, list[float]]] = {}
    for point, results in finished:
        others = {k: v for k, v in point.settings.items() if k not in (key, SEED)}
        if (score := mean(results.get(metric.result, {}))) is not None:
            line = lines.setdefault(folder_name(others), {})
            line.setdefault(float(point.settings[key]), []).append(score)
    if lines:
        notes = dict.fromkeys(unlabelled_note(results) for _, results in finished)
        about = finished[0][1]["suite"], metric.label, "\n".join(filter(None, notes))
        plot_sweep(out / "sweep.png", short_names(keys)[key], lines, *about)


def is_number(text: str) -> bool:
    """Return whether a value is a number, which can be a place on an axis."""
    try:
        float(text)
    except ValueError:
        return False
    return True
