"""The summary of a sweep: a table, a plot, and the setting that is chosen without labels."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from wemoe_pl.cli.sweep.choice import SEED, Finished, choose, information, write_choice
from wemoe_pl.cli.sweep.grid import folder_name, short_names
from wemoe_pl.cli.sweep.points import Point
from wemoe_pl.cli.sweep.progress import tell
from wemoe_pl.reporting.analysis import write_rows
from wemoe_pl.reporting.plots.sweep import plot_sweep
from wemoe_pl.reporting.table import percent
from wemoe_pl.reporting.without_labels import compared_metric
from wemoe_pl.system.console import Console
from wemoe_pl.training.metrics import mean

UNLIMITED = 1000  # columns in which no table is wrapped
OF_CHOICE = " ←"  # behind the points of the chosen setting


def summarise(points: Sequence[Point], keys: list[str], out: Path, chooses: bool) -> None:
    """Print and write the table of the points that have finished, and draw it; nothing for none.

    Args:
        points: the points of the sweep that have not failed.
        keys: the keys of its grid.
        out: the folder of `sweep.csv`, `sweep.png` and `chosen.json`.
        chooses: mark the setting that has most information, for which no label is needed.
    """
    finished = [(point, results) for point in points if (results := point.results) is not None]
    if not finished:
        return
    chosen = choose(finished) if chooses else None
    table = sweep_table(finished, keys, chosen.points if chosen else ())
    Console(width=Console(width=UNLIMITED).measure(table).maximum).print(table)
    rows = [csv_row(point, results) for point, results in finished]
    header = list(dict.fromkeys(key for row in rows for key in row))
    write_rows(out / "sweep.csv", header, [[row.get(key) for key in header] for row in rows])
    draw(finished, keys, out)
    if chosen is not None:
        tell(f"{OF_CHOICE.strip()} Chosen without labels: {chosen.in_words}.")
        if changed := write_choice(out / "chosen.json", chosen):
            tell(changed)
    elif chooses:
        tell("Nothing was chosen: no point has an information.")


def csv_row(point: Point, results: Mapping[str, Any]) -> dict[str, Any]:
    """Make a line of `sweep.csv`."""
    return {
        **point.settings,
        **{f"accuracy/{task}": value for task, value in results["accuracy"].items()},
        "mean": results["mean"],
        "partial": results.get("partial"),
        "information": information(results),
        **{f"seconds/{stage}": value for stage, value in results["seconds"].items()},
        "folder": str(point.folder),
    }


def sweep_table(finished: Finished, keys: list[str], chosen: Collection[Point]) -> Table:
    """Make a table with a line per point: settings, accuracies, their mean, label-free score."""
    first = finished[0][1]
    tasks = list(dict.fromkeys(task for _, results in finished for task in results["accuracy"]))
    title = f"Sweep on {first['suite']}, accuracy in %"
    notes = dict.fromkeys(run.get(key) for _, run in finished for key in ("note", "partial"))
    table = Table(title=title, caption="\n".join(filter(None, notes)) or None)
    for name in short_names(keys).values():
        table.add_column(name)
    for name in (*tasks, "mean", "information"):
        table.add_column(name, justify="right")
    for point, results in finished:
        scores = [results["accuracy"].get(task) for task in tasks]
        scores += [results["mean"], information(results)]
        mark = OF_CHOICE if point in chosen else ""
        shown = [percent(score) for score in scores]
        table.add_row(*point.settings.values(), *shown[:-1], shown[-1] + mark)
    return table


def draw(finished: Finished, keys: list[str], out: Path) -> None:
    """Plot the mean accuracy over the one key that has numbers for values, if there is one.

    Where no image has a label, it is of what stands in for the accuracy.
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
        suite = finished[0][1]["suite"]
        plot_sweep(out / "sweep.png", short_names(keys)[key], lines, suite, metric.label)


def is_number(text: str) -> bool:
    """Say whether a value can be a place on an axis."""
    try:
        float(text)
    except ValueError:
        return False
    return True
