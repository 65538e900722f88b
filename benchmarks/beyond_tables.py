"""Draw the tables and the picture of docs/beyond-the-paper.md from the kept results.

    python benchmarks/beyond_tables.py

`beyond_the_paper.py` runs the experiments and keeps their results below benchmarks/beyond. A table
has the settings that are kept, and says how many are still to be run.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib.pyplot as plt
from beyond_the_paper import EXPERIMENTS, KEPT, STATIC, file_name
from miniature_tables import insert

from wemoe_pl.reporting.markdown import grid
from wemoe_pl.reporting.table import Cell

DOCUMENT = Path(__file__).parents[1] / "docs" / "beyond-the-paper.md"
PICTURE = DOCUMENT.with_suffix(".png")
Setting = Mapping[str, Any]


def main() -> None:
    """Write all tables into the document, and draw its picture."""
    text = DOCUMENT.read_text()
    for suite, table in TABLES.items():
        text = insert(text, suite, table(kept(suite)) + still_to_run(suite))
    DOCUMENT.write_text(text)
    draw({suite: kept(suite) for suite in ("miniature", "miniature20")}, PICTURE)


def kept(suite: str) -> list[Setting]:
    """Return what is kept of an experiment, in the order of its settings."""
    paths = (KEPT / suite / f"{file_name(name)}.json" for name in EXPERIMENTS[suite].settings)
    return [json.loads(path.read_text()) for path in paths if path.is_file()]


def still_to_run(suite: str) -> str:
    """Return a sentence that says which settings have no results yet."""
    there = {setting["setting"] for setting in kept(suite)}
    missing = [f"“{name}”" for name in EXPERIMENTS[suite].settings if name not in there]
    return f"\n\nNot run yet: {', '.join(missing)}.\n" if missing else ""


def scores_table(settings: Sequence[Setting]) -> str:
    """Return means and deviations over seeds, on the images of the stream and on new ones.

    The last column has the number of weights that are learned, in thousands.
    """
    header = [
        *("setting", "stream", "normalized", "worst task", "new images"),
        *("task unknown", "unknown, new", "routers"),
    ]
    return grid(header, [scores_row(setting["setting"], setting["runs"]) for setting in settings])


def scores_row(name: str, runs: Sequence[Any]) -> list[str]:
    """Return the row of one setting. Its worst task is the one furthest below its expert."""
    stream = [run["stream"] for run in runs]
    new = [run["new"] for run in runs if "new" in run]
    return [
        name,
        Cell.of(list(map(mean_accuracy, stream))).text,
        Cell.of([fmean(shares(one)) for one in stream]).text,
        worst_task(stream),
        Cell.of(list(map(mean_accuracy, new))).text,
        Cell.of(list(map(unknown_task, stream))).text,
        Cell.of(list(map(unknown_task, new))).text,
        f"{runs[0]['parameters']['trainable'] / 1e3:,.0f}",
    ]


def mean_accuracy(figures: Mapping[str, Any]) -> float:
    """Return the mean accuracy over the tasks."""
    return fmean(figures["accuracy"].values())


def shares(figures: Mapping[str, Any]) -> Iterable[float]:
    """Return the accuracy of every task as a share of its expert's."""
    return (figures["accuracy"][task] / own for task, own in figures["individual"].items())


def worst_task(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the largest difference below an expert, of the mean over seeds, and its task."""
    margins = {
        task: fmean(run["accuracy"][task] - own for run in runs)
        for task, own in runs[0]["individual"].items()
    }
    worst = min(margins, key=margins.__getitem__)
    return f"{100 * margins[worst]:+.1f} ({worst})"


def unknown_task(figures: Mapping[str, Any]) -> float:
    """Return the mean accuracy where the task is not known, by the better rule."""
    found: float = max(figures["unknown_task"].values())
    return found


def images_table(settings: Sequence[Setting]) -> str:
    """Return the mean accuracy of each setting by kind of images, and over all of them.

    The last two columns say how far a task falls below task arithmetic, and below its expert, on
    the images of the same kind, in the worst case of all tasks, kinds and seeds.
    """
    found = {setting["setting"]: by_kind(setting) for setting in settings}
    kinds = list(next(iter(found.values()))) if found else []
    references = [name for name in STATIC if name in found]
    header = ["setting", *kinds, "mean", *(f"worst against {name}" for name in references)]
    rows = []
    for name, own in found.items():
        means = {k: [fmean(accuracy.values()) for accuracy in own[k]] for k in kinds}
        margins = [f"{worst_margin(own, found[other]):+.1f}" for other in references]
        cells = [Cell.of(means[k]).text for k in kinds]
        rows.append([name, *cells, f"{100 * fmean(map(fmean, means.values())):.1f}", *margins])
    return grid(header, rows)


def by_kind(setting: Setting) -> dict[str, list[dict[str, float]]]:
    """Return the accuracies of a setting's runs by the kind of their images."""
    found: dict[str, list[dict[str, float]]] = {}
    for run in setting["runs"]:
        found.setdefault(run["kind"], []).append(run["stream"]["accuracy"])
    return found


def worst_margin(
    own: Mapping[str, Sequence[Mapping[str, float]]],
    other: Mapping[str, Sequence[Mapping[str, float]]],
) -> float:
    """Return the least accuracy of a task less that of another method, in points."""
    return 100 * min(
        accuracy - other[kind][0][task]
        for kind, runs in own.items()
        for run in runs
        for task, accuracy in run.items()
    )


def draw(suites: Mapping[str, Sequence[Setting]], path: Path) -> None:
    """Draw the accuracies of every setting: on the stream, on new images, and task unknown."""
    series: dict[str, tuple[str, Callable[[Any], float], str, str]] = {
        "images adapted on": ("stream", mean_accuracy, "o", "#0072b2"),
        "new images": ("new", mean_accuracy, "s", "#d55e00"),
        "new images, task unknown": ("new", unknown_task, "^", "#009e73"),
    }
    names = list(dict.fromkeys(each["setting"] for found in suites.values() for each in found))
    size = 11, 1.5 + 0.3 * len(names)
    figure, axes = plt.subplots(1, len(suites), figsize=size, layout="constrained", sharey=True)
    for axis, (suite, settings) in zip(axes, suites.items(), strict=True):
        rows = [names.index(setting["setting"]) for setting in settings]
        for label, (images, score, marker, colour) in series.items():
            values = [
                100 * fmean(score(run[images]) for run in setting["runs"]) for setting in settings
            ]
            # Hollow, since new images often score the same.
            look = {"markersize": 9, "markerfacecolor": "none"} if marker == "o" else {}
            axis.plot(values, rows, marker, color=colour, label=label, **look)
        axis.grid(alpha=0.3)
        axis.set(title=suite, xlabel="mean accuracy, %")
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()  # of both, since they share it
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    figure.savefig(path, dpi=120)
    plt.close(figure)


TABLES: dict[str, Callable[[Sequence[Setting]], str]] = {
    "miniature": scores_table,
    "miniature20": scores_table,
    "corrupted": images_table,
    "unseen": images_table,
}


if __name__ == "__main__":
    main()
