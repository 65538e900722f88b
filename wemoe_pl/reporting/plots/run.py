"""Draw the figures of one run: its accuracy, adaptation, routing and confusion."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from wemoe_pl.merging.spelling import spelled
from wemoe_pl.reporting.analysis import write_routing
from wemoe_pl.reporting.plots.style import (
    LINE_HEIGHT,
    LINE_STYLES,
    add_legend,
    saved_figure,
    set_share_limits,
    write_cells,
)
from wemoe_pl.reporting.summary import accuracy_columns, own_title
from wemoe_pl.reporting.table import percent
from wemoe_pl.reporting.without_labels import (
    compared_metric,
    scored_tasks,
    unlabelled_note,
)
from wemoe_pl.training.metrics import mean
from wemoe_pl.training.module import MultiTaskModule
from wemoe_pl.training.references import REFERENCES
from wemoe_pl.training.shown_metrics import ACCURACY, AGREEMENT, DRAWN, ShownMetric

Curve = Mapping[int, float]  # the value at each optimiser step
MEAN: dict[str, Any] = {
    "color": "black", "label": "mean", "linestyle": "-", "linewidth": 2.2, "marker": "o",
    "markersize": 3.5, "zorder": 3,
}  # fmt: skip
REFERENCE_BARS = {reference.title: reference.bar for reference in REFERENCES.values()}
METHOD_BAR = {"color": "#D55E00"}
OUTLINE = {"edgecolor": "black", "linewidth": 0.5}
LONGEST_CLASS = 24  # shown characters of the name of a class


def write_figures(
    out: Path,
    module: MultiTaskModule,
    results: Mapping[str, Any],
    curves: Mapping[str, Mapping[int, float]],
) -> list[Path]:
    """Draw accuracy, curves, routing and the confusion of the worst task, if they were measured.

    Args:
        out: the folder of the run.
        module: the module that was scored.
        results: the contents of `results.json`.
        curves: the logged values, by metric and step.

    Returns:
        The PNG files; each has an SVG of the same name next to it.
    """
    title = f"{spelled(results['method'])} on {results['suite']}"
    written = []
    metric = compared_metric([results])
    if metric in (ACCURACY, AGREEMENT) and results.get(metric.result):
        written.append(out / f"{metric.result}.png")
        columns, own = accuracy_columns(results), own_title(results)
        about = "\n".join(filter(None, (title, unlabelled_note(results))))
        plot_accuracy(written[-1], columns, about, metric.label, own, scored_tasks(results))
    if any(panel_of(metric, curves) for metric in DRAWN):
        written.append(out / "adaptation.png")
        only = results.get("curves")  # a note on the part of the images, if not all were scored
        plot_adaptation(written[-1], curves, f"{title}\n{only}" if only else title)
    if module.routing:
        about = f"Routing of {title}"
        start = module.initial_routing_weight
        experts, blocks = list(module.suite.experts), module.classifier.routed_names
        paths = write_routing(out, module.routing, experts, about, start, blocks)
        written += [path for path in paths if path.suffix == ".png"]
    if results["accuracy"]:
        worst = min(results["accuracy"], key=lambda task: results["accuracy"][task])
        counts = module.scores.confusion()[worst]
        written.append(out / "confusion.png")
        is_one = len(results["accuracy"]) == 1
        why = "the only task with labels" if is_one else "the task of lowest accuracy"
        about = f"{title}\nimages of {worst}, {why}"
        plot_confusion(written[-1], counts, module.classifier.head(worst).classes, about)
    return written


def plot_accuracy(
    path: Path,
    accuracy: Mapping[str, Mapping[str, float]],
    title: str,
    label: str = ACCURACY.label,
    own: str | None = None,
    tasks: Sequence[str] = (),
) -> None:
    """Draw the accuracy of every method on every task, and their means, as bars.

    Args:
        path: the PNG file.
        accuracy: the accuracies, 0 to 1, by method in the order of the bars, then by task. A dash
            stands for a missing one.
        title: the title of the figure.
        label: the label of the axis, if another metric stands in for the accuracy.
        own: the method of the run, which is drawn as such even if it is a reference elsewhere.
        tasks: the tasks in the order of the groups, also unmeasured ones; by default the tasks of
            the methods.
    """
    known = [task for values in accuracy.values() for task in values]
    tasks = list(dict.fromkeys([*tasks, *known]))
    shares = {
        method: [*(values.get(task) for task in tasks), mean(values)]
        for method, values in accuracy.items()
    }
    groups = np.arange(len(tasks) + 1)
    height = 1.4 + LINE_HEIGHT * len(groups) * (len(accuracy) + 1)
    with saved_figure(path, 8, height, title) as figure:
        axis = figure.subplots()
        thickness = 1 / (len(accuracy) + 1)
        for i, (method, values) in enumerate(shares.items()):
            places = groups + (i - (len(accuracy) - 1) / 2) * thickness
            widths = [100 * (value or 0.0) for value in values]
            bar = METHOD_BAR if method == own else REFERENCE_BARS.get(method, METHOD_BAR)
            look: dict[str, Any] = {**OUTLINE, **bar}
            bars = axis.barh(places, widths, thickness, label=method, **look)
            texts = [percent(value) for value in values]
            axis.bar_label(bars, texts, padding=3, fontsize=rcParams["ytick.labelsize"])
        axis.axhline(len(tasks) - 0.5, color="black", linewidth=0.8)  # separates the means
        axis.set_yticks(groups, [*tasks, "mean"], fontsize=rcParams["font.size"])
        axis.set(xlabel=label, xlim=(0, 107), ylim=(len(tasks) + 0.5, -0.5))
        axis.set_xticks(range(0, 101, 20))
        axis.set_axisbelow(True)
        axis.grid(axis="x")
        add_legend(figure, "outside lower center", columns=len(accuracy))


def plot_adaptation(path: Path, curves: Mapping[str, Curve], title: str) -> None:
    """Draw the metrics that were logged while a model adapts, each in a panel of its own.

    Args:
        path: the PNG file.
        curves: the values by key of a metric, then by optimiser step. Entropies are in nats, other
            values from 0 to 1. The key of a metric has its mean over tasks; the key followed by
            `/<task>` has the values of a task. Other keys are left out.
        title: the title of the whole figure.
    """
    panels = {metric: panel for metric in DRAWN if (panel := panel_of(metric, curves))}
    assert panels, "No curve of an adaptation was given."
    everything = dict.fromkeys(task for panel in panels.values() for task in panel if task)
    looks = dict(zip(everything, LINE_STYLES(), strict=False))
    height = max(0.8 + 2.2 * len(panels), 0.6 + 0.2 * len(everything))
    steps = {step for panel in panels.values() for curve in panel.values() for step in curve}
    last = max(steps) or 1  # before the first step, there is no width to draw
    with saved_figure(path, 8, height, title) as figure:
        axes = figure.subplots(len(panels), squeeze=False, sharex=True)[:, 0]
        for axis, (metric, panel) in zip(axes, panels.items(), strict=True):
            for place, (task, curve) in enumerate(panel.items()):
                look = {"linewidth": 0.8, "label": task, **looks[task]} if task else MEAN
                draw_curve(axis, curve, metric.scale, place / len(panel), **look)
            set_limits(axis, metric, panel)
            if mean_curve := panel.get(""):
                missing = ", ".join(task for task in everything if task not in panel)
                without = f", without {missing}" if missing else ""
                change = f"{change_of(metric, mean_curve)}{without}"
                axis.set_title(change, loc="right", fontsize=9, wrap=True)
            axis.set_ylabel(metric.label)
            axis.grid()
        axis.set_xlim(-0.02 * last, 1.02 * last)
        axis.set_xlabel("optimiser step")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        add_legend(figure, "outside right center")


def panel_of(metric: ShownMetric, curves: Mapping[str, Curve]) -> dict[str, Curve]:
    """Return the curves of a metric by task, and their mean under an empty name.

    They are taken from the stage whose curves begin first: from validations only if one of them
    comes before the first training batch that was logged.
    """
    by_stage: list[dict[str, Curve]] = []
    for stage in metric.stages:
        key = metric.key_in(stage)
        names = [name for name in curves if name.startswith(f"{key}/") and curves[name]]
        panel = {name.removeprefix(f"{key}/"): curves[name] for name in names}
        panel |= {"": curves[key]} if curves.get(key) else {}
        by_stage += [panel] if panel else []
    return min(by_stage, key=first_step, default={})


def first_step(panel: Mapping[str, Curve]) -> int:
    """Return the first step of a panel's curves."""
    return min(step for curve in panel.values() for step in curve)


def set_limits(axis: Axes, metric: ShownMetric, panel: Mapping[str, Curve]) -> None:
    """Set the limits of an axis so that small differences do not look large."""
    values = [metric.scale * value for curve in panel.values() for value in curve.values()]
    if metric.unit == "%":
        set_share_limits(axis, values)
    else:
        axis.set_ylim(0, 1.05 * max(values) or 1)


def change_of(metric: ShownMetric, curve: Curve) -> str:
    """Return the first and the last value of a mean, as text."""
    ends = dict.fromkeys((min(curve), max(curve)))  # one end if there is a single point
    return f"mean {' → '.join(metric.text(curve[step]) for step in ends)}"


def draw_curve(axis: Axes, curve: Curve, unit: float, lag: float = 0, **look: Any) -> None:
    """Draw one metric by step, with about eight markers whatever its length.

    Args:
        axis: the panel.
        curve: the value at each step.
        unit: the factor that values are multiplied by.
        lag: the delay of the first marker, as a share of the distance between two markers.
        look: the colour, width and other properties of the line.
    """
    steps = sorted(curve)
    every = math.ceil(len(steps) / 8)
    values = [unit * curve[step] for step in steps]
    axis.plot(steps, values, markevery=(int(lag * every), every), **look)


def plot_confusion(path: Path, counts: Tensor, classes: Sequence[str], title: str) -> None:
    """Draw how many images of each class are taken for another, in the colour of their share.

    Correct predictions are on a grey diagonal, and only mistakes have colours. Otherwise a few
    mistakes could not be seen next to many correct predictions.

    Args:
        path: the PNG file.
        counts: the numbers of images, (C, C), with true classes in rows, predicted ones in columns.
        classes: the C class names, which are shown for up to 20 classes; the counts for up to 12.
        title: the title of the figure.
    """
    shares = (100 * counts / counts.sum(dim=1, keepdim=True).clamp(min=1)).double().numpy()
    mistakes = np.ma.masked_array(shares, np.eye(len(shares), dtype=bool))
    most = float(mistakes.max()) if len(shares) > 1 else 0.0
    named, numbered = len(classes) <= 20, len(classes) <= 12
    names = [c if len(c) <= LONGEST_CLASS else f"{c[: LONGEST_CLASS - 1]}…" for c in classes]
    longest = max(map(len, names))
    margin = 0.5 + 0.075 * longest * named
    side = min(max(0.4 * len(classes), 3.0), 6.5)
    with saved_figure(path, 1.1 * side + margin + 0.6, side + margin + 0.4, title) as figure:
        axis = figure.subplots()
        axis.set_facecolor("#E0E0E0")  # the colour of the diagonal, which is masked
        limit = max(10 * math.ceil(most / 10), 10)
        image = axis.imshow(mistakes, vmin=0, vmax=limit, cmap="Oranges", interpolation="nearest")
        if named:
            axis.set_xticks(range(len(names)), names, rotation=90 if longest > 2 else 0)
            axis.set_yticks(range(len(names)), names)
        if numbered:
            seen = counts.double().where(counts > 0, torch.nan).numpy()
            write_cells(axis, seen, light=mistakes.filled(0) > 0.6 * limit)
        by = "" if named else ", by index"
        axis.set(xlabel=f"predicted class{by}", ylabel=f"true class{by}")
        label = "mistakes, % of the images of a true class"
        figure.colorbar(image, ax=axis, label=label, shrink=0.8)
