"""The figures of one run: its accuracy, adaptation, routing and confusion."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from wemoe_pl.reporting.analysis import write_routing
from wemoe_pl.reporting.plots.style import (
    LINE_HEIGHT,
    LINE_STYLES,
    add_legend,
    saved_figure,
    write_cells,
)
from wemoe_pl.reporting.summary import accuracy_columns
from wemoe_pl.reporting.table import percent
from wemoe_pl.training.metrics import mean
from wemoe_pl.training.module import MultiTaskModule
from wemoe_pl.training.references import REFERENCES
from wemoe_pl.training.shown_metrics import CURVES

MEAN: dict[str, Any] = {
    "color": "black", "label": "mean", "linestyle": "-", "linewidth": 2.2, "marker": "",
    "zorder": 3,
}  # fmt: skip
REFERENCE_BARS = {reference.title: reference.bar for reference in REFERENCES.values()}
METHOD_BAR = {"color": "#D55E00"}
OUTLINE = {"edgecolor": "black", "linewidth": 0.5}
LONGEST_CLASS = 24  # characters of a class's name that are shown


def write_figures(
    out: Path,
    module: MultiTaskModule,
    results: Mapping[str, Any],
    curves: Mapping[str, Mapping[int, float]],
) -> list[Path]:
    """Draw accuracy, curves, routing and the confusion of the worst task, as far as there are any.

    Args:
        out: the folder of the run.
        module: what was scored.
        results: the contents of `results.json`.
        curves: what was logged, by metric and step.

    Returns:
        The PNG files; each has an SVG of the same name beside it.
    """
    title = f"{results['method']} on {results['suite']}"
    written = []
    if results["accuracy"]:
        written.append(out / "accuracy.png")
        plot_accuracy(written[-1], accuracy_columns(results), title)
    if not curves.keys().isdisjoint(CURVES):
        written.append(out / "adaptation.png")
        only = results.get("curves")  # of which part of the images they are, if not of all
        plot_adaptation(written[-1], curves, f"{title}\n{only}" if only else title)
    if module.routing:
        about = f"Routing of {title}"
        paths = write_routing(out, module.routing, list(module.suite.experts), about)
        written += [path for path in paths if path.suffix == ".png"]
    if results["accuracy"]:
        worst = min(results["accuracy"], key=lambda task: results["accuracy"][task])
        counts = module.scores.confusion()[worst]
        written.append(out / "confusion.png")
        about = f"{title}: confusion on {worst}, the task of least accuracy"
        plot_confusion(written[-1], counts, module.classifier.head(worst).classes, about)
    return written


def plot_accuracy(path: Path, accuracy: Mapping[str, Mapping[str, float]], title: str) -> None:
    """Draw the accuracy of every method on every task, and their means, as bars.

    Args:
        path: the PNG file.
        accuracy: by method, in the order of the bars, then by task: 0 to 1. What a method lacks
            has a dash.
        title: of the figure.
    """
    tasks = list(dict.fromkeys(task for values in accuracy.values() for task in values))
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
            look: dict[str, Any] = {**OUTLINE, **REFERENCE_BARS.get(method, METHOD_BAR)}
            bars = axis.barh(places, widths, thickness, label=method, **look)
            texts = [percent(value) for value in values]
            axis.bar_label(bars, texts, padding=3, fontsize=rcParams["ytick.labelsize"])
        axis.axhline(len(tasks) - 0.5, color="black", linewidth=0.8)  # above the means
        axis.set_yticks(groups, [*tasks, "mean"], fontsize=rcParams["font.size"])
        axis.set(xlabel="accuracy, %", xlim=(0, 107), ylim=(len(tasks) + 0.5, -0.5))
        axis.set_xticks(range(0, 101, 20))
        axis.set_axisbelow(True)
        axis.grid(axis="x")
        add_legend(figure, "outside lower center", columns=len(accuracy))


def plot_adaptation(path: Path, curves: Mapping[str, Mapping[int, float]], title: str) -> None:
    """Draw entropy, accuracy and diversity while a model adapts: a panel for each that was logged.

    Args:
        path: the PNG file.
        curves: by key of a metric, then by optimiser step. `train/entropy` is in nats; `val/acc`
            and `val/diversity` are from 0 to 1. Each is a mean, and each with `/<task>` behind it
            is a task's. Other keys are left out.
        title: of the whole figure.
    """
    panels = {
        key: {name.removeprefix(f"{key}/"): name for name in curves if name.startswith(f"{key}/")}
        for key in CURVES
    }
    panels = {key: tasks for key, tasks in panels.items() if tasks or key in curves}
    assert panels, "No curve of an adaptation was given."
    everything = dict.fromkeys(task for tasks in panels.values() for task in tasks)
    looks = dict(zip(everything, LINE_STYLES(), strict=False))
    height = max(0.8 + 2.2 * len(panels), 0.6 + 0.2 * len(everything))
    with saved_figure(path, 8, height, title) as figure:
        axes = figure.subplots(len(panels), squeeze=False, sharex=True)[:, 0]
        for axis, (key, tasks) in zip(axes, panels.items(), strict=True):
            unit = CURVES[key].scale
            for place, (task, name) in enumerate(tasks.items()):
                lag = place / len(tasks)
                draw_curve(axis, curves[name], unit, lag, linewidth=0.8, label=task, **looks[task])
            if key in curves:
                draw_curve(axis, curves[key], unit, **MEAN)
            axis.set_ylabel(CURVES[key].label)
            axis.grid()
        axis.set_xlabel("optimiser step")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        add_legend(figure, "outside right center")


def draw_curve(
    axis: Axes, curve: Mapping[int, float], unit: float, lag: float = 0, **look: Any
) -> None:
    """Draw one metric by step, with about eight markers however long it is.

    Args:
        axis: the panel.
        curve: the value at each step.
        unit: what values are multiplied with.
        lag: how late the first marker is, as a share of the distance between two.
        look: colour, width and the like of the line.
    """
    steps = sorted(curve)
    every = math.ceil(len(steps) / 8)
    values = [unit * curve[step] for step in steps]
    axis.plot(steps, values, markevery=(int(lag * every), every), **look)


def plot_confusion(path: Path, counts: Tensor, classes: Sequence[str], title: str) -> None:
    """Draw how often images of each class are taken for each other, as shares of the true class.

    Args:
        path: the PNG file.
        counts: (C, C), true classes in rows, predicted ones in columns.
        classes: the C names; they are shown up to 20, and the shares in numbers up to 12.
        title: of the figure.
    """
    shares = (100 * counts / counts.sum(dim=1, keepdim=True).clamp(min=1)).numpy()
    named, numbered = len(classes) <= 20, len(classes) <= 12
    names = [c if len(c) <= LONGEST_CLASS else f"{c[: LONGEST_CLASS - 1]}…" for c in classes]
    longest = max(map(len, names))
    margin = 0.5 + 0.075 * longest * named
    side = min(max(0.4 * len(classes), 3.0), 6.5)
    roots = PowerNorm(0.5, 0, 100)  # else one wrong image of a hundred cannot be seen
    with saved_figure(path, 1.1 * side + margin + 0.6, side + margin + 0.2, title) as figure:
        axis = figure.subplots()
        image = axis.imshow(shares, norm=roots, cmap="cividis", interpolation="nearest")
        if named:
            axis.set_xticks(range(len(names)), names, rotation=90 if longest > 2 else 0)
            axis.set_yticks(range(len(names)), names)
        if numbered:
            write_cells(axis, shares, "{:.0f}", light=shares < 25)
        by = "" if named else ", by index"
        axis.set(xlabel=f"predicted class{by}", ylabel=f"true class{by}")
        figure.colorbar(image, ax=axis, label="share of the true class, %", shrink=0.8)
