"""The pictures: of scores, adaptation, routing, sweeps, task vectors, landscapes and sizes.

Each is written twice under one name: as PNG, to look at, and as SVG, to print. Lines differ in
more than their colour, and colours are those that a colour-blind reader tells apart.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from cycler import cycler
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

from wemoe_pl.reporting.table import Cell
from wemoe_pl.system.files import atomic_write
from wemoe_pl.training.metrics import mean
from wemoe_pl.training.shown_metrics import CURVES

Numbers = NDArray[np.float64]
Place = Literal["outside right center", "outside lower center"]  # of a legend
DECADES = 100  # from this ratio of the largest value to the least, an axis is logarithmic

# Okabe and Ito's colours, with a dark grey for their black, which is kept for means.
COLOURS = (
    *("#0072B2", "#E69F00", "#009E73", "#D55E00"),
    *("#CC79A7", "#56B4E9", "#555555", "#F0E442"),
)
LINES = cycler(linestyle=["-", "--", ":"]) * (cycler(color=COLOURS) + cycler(marker="os^Dv*PX"))
MEAN: dict[str, Any] = {
    "color": "black",
    "label": "mean",
    "linestyle": "-",
    "linewidth": 2.2,
    "marker": "",
    "zorder": 3,
}
# Bars of what a method is compared with, by title, and of the method itself.
REFERENCES: dict[str, dict[str, str]] = {
    "pretrained": {"color": "#DDDDDD"},
    "task arithmetic": {"color": "#56B4E9", "hatch": "////"},
    "individual": {"color": "white", "hatch": "...."},
}
METHOD = {"color": "#D55E00"}
# A page shows a picture of ten inches at nine, and so 8 pt at more than 7.
STYLE: dict[str, Any] = {
    "axes.prop_cycle": LINES,
    "axes.titlesize": 10,
    "figure.titlesize": 11,
    "font.size": 9,
    "grid.alpha": 0.3,
    "hatch.linewidth": 0.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markeredgecolor": "black",
    "lines.markeredgewidth": 0.4,
    "lines.markersize": 5,
    "savefig.dpi": 150,
    "svg.hashsalt": "wemoe_pl",  # else every SVG has other identifiers
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "text.parse_math": False,  # a `$` in the name of a class is no formula
}
LINE_HEIGHT = 0.135  # inches that a line of the least text takes
LONGEST = 24  # characters of a class's name that are shown


@contextmanager
def picture(path: Path, width: float, height: float, title: str) -> Iterator[Figure]:
    """A figure in the style of all, so many inches large, that is saved when the block ends."""
    with style.context(["default", STYLE]):  # whatever a reader's own matplotlibrc says
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.suptitle(title, wrap=True)
        yield figure
        save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG and, beside it, as SVG, each whole or not at all."""
    for suffix, metadata in {".png": {}, ".svg": {"Date": None}}.items():
        with atomic_write(path.with_suffix(suffix)) as temporary:
            figure.savefig(temporary, metadata=metadata)


def add_legend(figure: Figure, place: Place, columns: int = 1) -> None:
    """One legend of all panels outside them, with each label once."""
    handles = {
        label: handle
        for axis in figure.axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    if handles:
        figure.legend(handles.values(), handles.keys(), loc=place, ncols=columns)


def plot_accuracy(path: Path, accuracy: Mapping[str, Mapping[str, float]], title: str) -> None:
    """Draw the accuracy of every method on every task, and their means, as bars.

    Args:
        path: where to.
        accuracy: by method, in the order of the bars, then by task: 0 to 1. What a method lacks
            has a dash.
        title: of the picture.
    """
    tasks = list(dict.fromkeys(task for values in accuracy.values() for task in values))
    shares = {
        method: [*(values.get(task) for task in tasks), mean(values)]
        for method, values in accuracy.items()
    }
    groups = np.arange(len(tasks) + 1)
    height = 1.4 + LINE_HEIGHT * len(groups) * (len(accuracy) + 1)
    with picture(path, 8, height, title) as figure:
        axis = figure.subplots()
        thickness = 1 / (len(accuracy) + 1)
        for i, (method, values) in enumerate(shares.items()):
            places = groups + (i - (len(accuracy) - 1) / 2) * thickness
            widths = [100 * (value or 0.0) for value in values]
            look: dict[str, Any] = {
                "edgecolor": "black",
                "linewidth": 0.5,
                **REFERENCES.get(method, METHOD),
            }
            bars = axis.barh(places, widths, thickness, label=method, **look)
            texts = [Cell(value).text for value in values]
            axis.bar_label(bars, texts, padding=3, fontsize=STYLE["ytick.labelsize"])
        axis.axhline(len(tasks) - 0.5, color="black", linewidth=0.8)  # above the means
        axis.set_yticks(groups, [*tasks, "mean"], fontsize=STYLE["font.size"])
        axis.set(xlabel="accuracy, %", xlim=(0, 107), ylim=(len(tasks) + 0.5, -0.5))
        axis.set_xticks(range(0, 101, 20))
        axis.set_axisbelow(True)
        axis.grid(axis="x")
        add_legend(figure, "outside lower center", columns=len(accuracy))


def plot_adaptation(path: Path, curves: Mapping[str, Mapping[int, float]], title: str) -> None:
    """Draw entropy, accuracy and diversity while a model adapts: a panel for each that was logged.

    Args:
        path: where to.
        curves: by key of a metric, then by optimiser step. `train/entropy` is in nats; `val/acc`
            and `val/diversity` are from 0 to 1. Each is a mean, and each with `/<task>` behind it
            is a task's. Other keys are left out.
        title: of the whole picture.
    """
    panels = {
        key: {name.removeprefix(f"{key}/"): name for name in curves if name.startswith(f"{key}/")}
        for key in CURVES
    }
    panels = {key: tasks for key, tasks in panels.items() if tasks or key in curves}
    assert panels, "No curve of an adaptation was given."
    everything = dict.fromkeys(task for tasks in panels.values() for task in tasks)
    looks = dict(zip(everything, LINES(), strict=False))
    height = max(0.8 + 2.2 * len(panels), 0.6 + 0.2 * len(everything))
    with picture(path, 8, height, title) as figure:
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
    """One metric by step, with about eight markers however long it is.

    Args:
        axis: where to.
        curve: by step.
        unit: what values are multiplied with.
        lag: how late the first marker is, as a share of the distance between two.
        look: of the line.
    """
    steps = sorted(curve)
    every = math.ceil(len(steps) / 8)
    values = [unit * curve[step] for step in steps]
    axis.plot(steps, values, markevery=(int(lag * every), every), **look)


def plot_confusion(path: Path, counts: Tensor, classes: Sequence[str], title: str) -> None:
    """Draw how often images of each class are taken for each other, as shares of the true class.

    Args:
        path: where to.
        counts: (C, C), true classes in rows, predicted ones in columns.
        classes: the C names; they are shown up to 20, and the shares in numbers up to 12.
        title: of the picture.
    """
    shares = (100 * counts / counts.sum(dim=1, keepdim=True).clamp(min=1)).numpy()
    named, numbered = len(classes) <= 20, len(classes) <= 12
    names = [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in classes]
    longest = max(map(len, names))
    margin = 0.5 + 0.075 * longest * named
    side = min(max(0.4 * len(classes), 3.0), 6.5)
    roots = PowerNorm(0.5, 0, 100)  # else one wrong image of a hundred cannot be seen
    with picture(path, 1.1 * side + margin + 0.6, side + margin + 0.2, title) as figure:
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


def write_cells(axis: Axes, values: Numbers, form: str, light: NDArray[np.bool_]) -> None:
    """Write the numbers of a heat map into its cells, in white where `light`."""
    for (i, j), value in np.ndenumerate(values):
        colour = "white" if light[i, j] else "black"
        axis.text(j, i, form.format(value), ha="center", va="center", fontsize=8, color=colour)


def plot_routing(
    path: Path, routing: Mapping[str, Tensor], experts: Sequence[str], title: str
) -> None:
    """Draw the mean routing weights of every task's samples, blocks × experts.

    Args:
        path: where to.
        routing: per task, (blocks, experts).
        experts: the experts' names, in the order of the columns.
        title: of the whole picture.
    """
    blocks = len(next(iter(routing.values())))
    columns = min(4 if len(experts) <= 12 else 3, len(routing))
    rows = math.ceil(len(routing) / columns)
    width = max(columns * max(LINE_HEIGHT * len(experts), 1.6) + 1.8, 4.5)
    height = rows * (min(max(LINE_HEIGHT * blocks, 1.2), 2.0) + 0.35) + 1.5
    limit = max(float(weights.abs().max()) for weights in routing.values())
    about = f"{title}\nown expert between the black lines"
    with picture(path, width, height, about) as figure:
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for i, (axis, (task, weights)) in enumerate(zip(axes.flat, routing.items(), strict=False)):
            image = axis.imshow(
                weights.numpy(), vmin=-limit, vmax=limit, cmap="PuOr_r", aspect="auto"
            )
            axis.set_title(f"images of {task}", fontsize=9)
            axis.set_xticks(range(len(experts)), experts, rotation=90)
            axis.set_yticks(range(0, blocks, math.ceil(blocks / 12)))
            axis.tick_params(labelbottom=i + columns >= len(routing))  # if none is below
            if task in experts:  # mark its own expert's column
                corner = experts.index(task) - 0.5, -0.5
                axis.add_patch(Rectangle(corner, 1, blocks, fill=False, linewidth=1.5))
        for axis in axes.flat[len(routing) :]:
            axis.set_axis_off()
        figure.supylabel("block", fontsize=9)
        figure.colorbar(image, ax=axes, label="mean routing weight", shrink=min(1, 4 / height))


def plot_routing_share(path: Path, share: Mapping[str, Sequence[float]], title: str) -> None:
    """Draw how often a task's own expert has the largest routing weight, block by block.

    Args:
        path: where to.
        share: per task, one number from 0 to 1 per block.
        title: of the picture.
    """
    rows = 100 * np.array(list(share.values()))
    rows = np.vstack([rows, rows.mean(axis=0)])
    tasks, blocks = rows.shape
    width, height = max(0.3 * blocks + 2.4, 4.5), max(0.25 * tasks + 1.3, 2.5)
    with picture(path, width, height, title) as figure:
        axis = figure.subplots()
        image = axis.imshow(rows, vmin=0, vmax=100, cmap="cividis", aspect="auto")
        write_cells(axis, rows, "{:.0f}", light=rows < 50)
        axis.axhline(len(share) - 0.5, color="white", linewidth=2)  # above the means
        axis.set_xticks(range(blocks))
        axis.set_yticks(range(tasks), [*share, "mean"])
        axis.set_xlabel("block")
        figure.colorbar(image, ax=axis, label="share of test images, %")


def plot_sweep(
    path: Path, key: str, lines: Mapping[str, Mapping[float, Sequence[float]]], suite: str
) -> None:
    """Draw the mean accuracy over the values of a key, a line per combination of others.

    Args:
        path: where to.
        key: what is on the horizontal axis.
        lines: by label, the mean accuracies (0 to 1) of all seeds at every value.
        suite: its name, for the title.
    """
    several = any(len(seeds) > 1 for line in lines.values() for seeds in line.values())
    about = f"Sweep on {suite}" + "\nbars from the least to the largest over seeds" * several
    with picture(path, 6, 4 + 0.18 * len(lines), about) as figure:
        axis = figure.subplots()
        for label, line in lines.items():
            values = sorted(line)
            heights = [100 * np.array(line[value]) for value in values]
            spread = [[h.mean() - h.min(), h.max() - h.mean()] for h in heights]
            means = [h.mean() for h in heights]
            bars = np.array(spread).T
            axis.errorbar(values, means, bars, capsize=3, elinewidth=0.8, label=label)
        everything = [value for line in lines.values() for value in line]
        if min(everything) > 0 and max(everything) / min(everything) >= DECADES:
            axis.set_xscale("log")
        axis.set(xlabel=key, ylabel="mean accuracy, %")
        axis.grid()
        add_legend(figure, "outside lower center")


def plot_similarity(
    path: Path,
    experts: Sequence[str],
    cosines: Mapping[str, Numbers],
    distances: Mapping[str, Numbers],
) -> None:
    """Draw how near task vectors are: the cosines of all pairs, and means layer by layer.

    Args:
        path: where to.
        experts: T names.
        cosines: by layer, (T, T); "all" is the whole task vector.
        distances: likewise.
    """
    everything = cosines["all"]
    side = max(0.34 * len(experts), 2.5)
    with picture(path, 10, side + 5.4, "Similarity of task vectors") as figure:
        heat, by_layer = figure.subplots(2, height_ratios=(side + 0.8, 3))
        heat.imshow(everything, vmin=-1, vmax=1, cmap="PuOr_r")
        write_cells(heat, everything, "{:.2f}", light=abs(everything) > 0.6)
        heat.set_xticks(range(len(experts)), experts, rotation=90)
        heat.set_yticks(range(len(experts)), experts)
        heat.set_title("cosine of all weights")
        layers = [layer for layer in cosines if layer != "all"]
        others = ~np.eye(len(experts), dtype=bool)
        near = [cosines[layer][others].mean() for layer in layers]
        far = [distances[layer][others].mean() for layer in layers]
        draw_layers(by_layer, layers, near, "cosine", color=COLOURS[0], marker="o")
        draw_layers(by_layer.twinx(), layers, far, "L2 distance", color=COLOURS[3], marker="s")
        by_layer.set(title="mean over pairs, layer by layer", xlabel="layer")
        add_legend(figure, "outside lower center", columns=2)


def draw_layers(
    axis: Axes, layers: Sequence[str], values: Sequence[float], name: str, color: str, marker: str
) -> None:
    """One line over layers, with an axis of its colour."""
    axis.plot(values, color=color, marker=marker, label=name)
    places = range(0, len(layers), 1 if len(layers) <= 54 else 4)  # of 12 blocks, or one per block
    axis.set_xticks(places, [layers[place] for place in places], rotation=90)
    axis.set_ylabel(name, color=color)
    axis.tick_params(axis="y", labelcolor=color)
    axis.set_ylim(min(0.0, *values) * 1.1, max(0.0, *values) * 1.1)


def plot_landscape(
    path: Path, grid: Numbers, losses: Mapping[str, Numbers], scaling: float
) -> None:
    """Draw contours of two tasks' losses, and of their sum, over θ0 + a τ_1 + b τ_2.

    Args:
        path: where to.
        grid: the values of a, and of b, (n,).
        losses: by task, (n, n), a row per a; cross-entropy in nats.
        scaling: λ of the task arithmetic that is marked.
    """
    (first, one), (second, other) = losses.items()
    panels = {f"loss of {first}": one, f"loss of {second}": other, "sum": one + other}
    marks = {
        "pretrained": (0, 0),
        first: (1, 0),
        second: (0, 1),
        f"λ = {scaling}": (scaling, scaling),
    }
    outline = [withStroke(linewidth=2, foreground="black")]
    about = f"Loss at θ0 + a τ_{first} + b τ_{second}"
    with picture(path, 10, 4.1, about) as figure:
        for axis, (title, values) in zip(figure.subplots(1, 3), panels.items(), strict=True):
            contours = axis.contourf(grid, grid, values.T, levels=24, cmap="viridis")
            bar = figure.colorbar(contours, ax=axis, location="bottom", label="loss, nats")
            bar.locator = MaxNLocator(5)
            for name, (a, b) in marks.items():
                axis.plot(a, b, marker="o", color="white", markeredgewidth=1)
                axis.annotate(
                    name, (a, b), xytext=(5, 5), textcoords="offset points", color="white",
                    path_effects=outline,
                )  # fmt: skip
            axis.set(title=title, xlabel=f"a, of {first}", ylabel=f"b, of {second}", aspect="equal")


def plot_parameters(path: Path, counts: Mapping[str, Sequence[tuple[int, int]]]) -> None:
    """Draw total and trainable parameters by number of tasks, a line per method.

    Args:
        path: where to.
        counts: by method, (total, trainable) for 1, 2, … tasks.
    """
    with picture(path, 9, 4, "Size of the merged encoder") as figure:
        for place, axis in enumerate(figure.subplots(1, 2)):
            for below, (method, pairs) in zip(
                reversed(range(len(counts))), counts.items(), strict=True
            ):
                values = [pair[place] for pair in pairs]
                size = 5 + 2 * below  # so that equal lines are all seen
                axis.plot(range(1, len(values) + 1), values, markersize=size, label=method)
            axis.set(xlabel="tasks", ylabel=("total parameters", "trainable parameters")[place])
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.grid()
        axis.set_yscale("log")
        for axis in figure.axes:
            axis.yaxis.set_major_formatter(EngFormatter())
        add_legend(figure, "outside lower center", columns=len(counts))


def plot_costs(
    path: Path, curves: Mapping[str, Mapping[str, Mapping[int, float]]], title: str
) -> None:
    """Draw milliseconds over what they grow with, a panel for each.

    Args:
        path: where to.
        curves: by the label of the horizontal axis, then by that of the line, seconds at each
            value.
        title: of the whole picture.
    """
    names = {label for lines in curves.values() for label in lines}
    with picture(path, 4 * len(curves) + 2, 3.6 + 0.1 * len(names), title) as figure:
        for axis, (key, lines) in zip(
            figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True
        ):
            for label, line in lines.items():
                values = sorted(line)
                axis.plot(values, [1e3 * line[value] for value in values], label=label)
            axis.set(xlabel=key, ylabel="milliseconds", xlim=(0, None), ylim=(0, None))
            axis.grid()
        add_legend(figure, "outside lower center", columns=2)
