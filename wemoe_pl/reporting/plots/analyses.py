"""Draw the figures of the analyses: routing, task vectors, loss landscapes and model sizes."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import EngFormatter, MaxNLocator
from torch import Tensor

from wemoe_pl.reporting.plots.style import (
    LINE_HEIGHT,
    LINE_STYLES,
    FloatArray,
    add_legend,
    saved_figure,
    write_cells,
)

LEAST_COSINE = 0.1  # an axis of cosines reaches at least this far, on both sides of 0
LEAST_DISTANCE = 1e-6  # an axis of distances reaches this far even if all experts are equal
LEAST_CHANGE = 0.1  # the darkest colours of a map stand for at least this change of a weight


def plot_routing(
    path: Path,
    routing: Mapping[str, Tensor],
    experts: Sequence[str],
    title: str,
    start: float | None = None,
    blocks: Sequence[str] = (),
) -> None:
    """Draw the mean routing weights of every task's samples, blocks × experts.

    A weight that equals the initial one is white, so that a map of barely adapted routers is nearly
    white, whatever they began with. If they did not all begin with the same weight, 0 is white.

    Args:
        path: the PNG file.
        routing: the mean routing weights of each task, (blocks, experts).
        experts: the experts' names, in the order of the columns.
        title: the title of the whole figure.
        start: the weight that adaptation began with, if all began with the same.
        blocks: the names of the rows; by default their numbers.
    """
    names = list(blocks) or [str(row) for row in range(len(next(iter(routing.values()))))]
    shown = slice(None, None, math.ceil(len(names) / 12))
    columns = min(4 if len(experts) <= 12 else 3, len(routing))
    rows = math.ceil(len(routing) / columns)
    width = max(columns * max(LINE_HEIGHT * len(experts), 1.6) + 1.8, 4.5)
    height = rows * (min(max(LINE_HEIGHT * len(names), 1.2), 2.0) + 0.35) + 1.5
    white = start or 0.0
    furthest = max(float((weights - white).abs().max()) for weights in routing.values())
    limit = max(furthest, LEAST_CHANGE)
    why = "" if start is None else ", as at the start"
    about = f"{title}\nown expert between the black lines; white: {white:g}{why}"
    with saved_figure(path, width, height, about) as figure:
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for i, (axis, (task, weights)) in enumerate(zip(axes.flat, routing.items(), strict=False)):
            image = axis.imshow(
                weights.numpy(),
                vmin=white - limit,
                vmax=white + limit,
                cmap="PuOr_r",
                aspect="auto",
            )
            axis.set_title(f"images of {task}", fontsize=9)
            axis.set_xticks(range(len(experts)), experts, rotation=90)
            axis.set_yticks(range(len(names))[shown], names[shown])
            axis.tick_params(labelbottom=i + columns >= len(routing))  # if no panel is below
            if task in experts:  # mark its own expert's column
                corner = experts.index(task) - 0.5, -0.5
                axis.add_patch(Rectangle(corner, 1, len(names), fill=False, linewidth=1.5))
        for axis in axes.flat[len(routing) :]:
            axis.set_axis_off()
        figure.supylabel("block", fontsize=9)
        figure.supxlabel("expert", fontsize=9)
        figure.colorbar(image, ax=axes, label="mean routing weight", shrink=min(1, 4 / height))


def plot_routing_share(
    path: Path, share: Mapping[str, Sequence[float]], title: str, blocks: Sequence[str] = ()
) -> None:
    """Draw how often a task's own expert has the largest routing weight, block by block.

    Args:
        path: the PNG file.
        share: the shares of each task, one number from 0 to 1 per block.
        title: the title of the figure.
        blocks: the names of the blocks; by default their numbers.
    """
    rows = 100 * np.array(list(share.values()))
    rows = np.vstack([rows, rows.mean(axis=0)])
    tasks, columns = rows.shape
    names = blocks or [str(column) for column in range(columns)]
    width, height = max(0.3 * columns + 2.4, 4.5), max(0.25 * tasks + 1.3, 2.5)
    with saved_figure(path, width, height, title) as figure:
        axis = figure.subplots()
        image = axis.imshow(rows, vmin=0, vmax=100, cmap="cividis", aspect="auto")
        write_cells(axis, rows, light=rows < 50)
        axis.axhline(len(share) - 0.5, color="white", linewidth=2)  # separates the means
        axis.set_xticks(range(columns), names, rotation=90 if len(max(names, key=len)) > 2 else 0)
        axis.set_yticks(range(tasks), [*share, "mean"])
        axis.set_ylabel("task")
        axis.set_xlabel("block")
        figure.colorbar(image, ax=axis, label="share of test images, %")


def plot_similarity(
    path: Path,
    experts: Sequence[str],
    cosines: Mapping[str, FloatArray],
    distances: Mapping[str, FloatArray],
) -> None:
    """Draw how near task vectors are: the cosines of all pairs, and means by block.

    Args:
        path: the PNG file.
        experts: the names of the T experts.
        cosines: the cosines of each layer, (T, T); "all" is the whole task vector.
        distances: the Euclidean distances of each layer, (T, T).
    """
    everything = cosines["all"]
    side = max(0.34 * len(experts), 2.5)
    with saved_figure(path, 10, side + 5.4, "Similarity of task vectors") as figure:
        rows: Any = [["heat", "heat"], ["cosine", "distance"]]
        axes: dict[str, Axes] = figure.subplot_mosaic(rows, height_ratios=(side + 0.8, 3.4))
        heat = axes["heat"]
        image = heat.imshow(everything, vmin=-1, vmax=1, cmap="PuOr_r")
        rounded = everything.round(2) + 0.0  # adding 0 makes 0 of -0
        write_cells(heat, rounded, light=abs(everything) > 0.6, form="{:.2f}")
        heat.set_xticks(range(len(experts)), experts, rotation=90)
        heat.set_yticks(range(len(experts)), experts)
        heat.set_title("cosine of all weights")
        beside = heat.inset_axes((1.04, 0.1, 0.2 / side, 0.8))  # follows the map in the layout
        figure.colorbar(image, cax=beside, label="cosine")
        draw_layers(axes["cosine"], mean_over_pairs(cosines), (-LEAST_COSINE, LEAST_COSINE))
        draw_layers(axes["distance"], mean_over_pairs(distances), (0, LEAST_DISTANCE))
        for name in ("cosine", "distance"):
            axes[name].set_ylabel(f"{name}, mean over pairs")
        add_legend(figure, "outside right lower")


def mean_over_pairs(by_layer: Mapping[str, FloatArray]) -> dict[str, float]:
    """Return the mean of the matrix of each layer but "all", without its diagonal."""
    others = ~np.eye(len(by_layer["all"]), dtype=bool)
    return {
        layer: float(matrix[others].mean()) for layer, matrix in by_layer.items() if layer != "all"
    }


def draw_layers(axis: Axes, values: Mapping[str, float], least: tuple[float, float]) -> None:
    """Draw a line over the blocks for each of their parts, and a dot for each layer outside them.

    Args:
        axis: the panel.
        values: the value of each layer, in the order in which an image goes through the layers:
            `blocks.3.mlp` is a part of a block, `patch_embed` is outside.
        least: the range of values that the axis shows at least.
    """
    blocks: dict[str, dict[int, float]] = {}
    outside: dict[str, tuple[int, float]] = {}
    for layer, value in values.items():
        if layer.startswith("blocks."):
            _, block, part = layer.split(".")
            blocks.setdefault(part, {})[int(block)] = value
        else:
            last = max((max(line) for line in blocks.values()), default=-2)
            outside[layer] = (last + 1, value)
    looks = iter(LINE_STYLES())
    for part, line in blocks.items():
        axis.plot(list(line), list(line.values()), label=f"blocks: {part}", **next(looks))
    for layer, (place, value) in outside.items():
        axis.plot(place, value, label=layer, **{**next(looks), "linestyle": ""})
    count = max((max(line) + 1 for line in blocks.values()), default=0)
    places = [-1, *range(0, count, math.ceil(count / 12) or 1), count]
    axis.set_xticks(places, ["in", *map(str, places[1:-1]), "out"])
    axis.set_ylim(1.1 * min(least[0], *values.values()), 1.1 * max(least[1], *values.values()))
    axis.set_xlabel("block")
    axis.grid()


def plot_landscape(
    path: Path, grid: FloatArray, losses: Mapping[str, FloatArray], scaling_coefficient: float
) -> None:
    """Draw contours of two tasks' losses, and of their sum, over θ0 + a τ_1 + b τ_2.

    Args:
        path: the PNG file.
        grid: the values of a, and of b, (n,).
        losses: the cross-entropy of each task in nats, (n, n), with a row per value of a.
        scaling_coefficient: λ of the task arithmetic that is marked.
    """
    (first, one), (second, other) = losses.items()
    panels = {f"loss of {first}": one, f"loss of {second}": other, "sum": one + other}
    marks = {
        "pretrained": (0, 0),
        first: (1, 0),
        second: (0, 1),
        f"λ = {scaling_coefficient}": (scaling_coefficient, scaling_coefficient),
    }
    outline = [withStroke(linewidth=2, foreground="black")]
    about = f"Loss at θ0 + a τ_{first} + b τ_{second}"
    with saved_figure(path, 10, 4.1, about) as figure:
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
        path: the PNG file.
        counts: the numbers (total, trainable) for 1, 2, … tasks, by method.
    """
    with saved_figure(path, 9, 4, "Size of the merged encoder") as figure:
        for place, axis in enumerate(figure.subplots(1, 2)):
            for number, (method, pairs) in enumerate(counts.items(), start=1):
                values = [pair[place] for pair in pairs]
                size = 5 + 2 * (len(counts) - number)  # so that no equal line hides another
                axis.plot(range(1, len(values) + 1), values, markersize=size, label=method)
            axis.set(xlabel="tasks", ylabel=("total parameters", "trainable parameters")[place])
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.grid()
        axis.set_yscale("log")
        for axis in figure.axes:
            axis.yaxis.set_major_formatter(EngFormatter())
        add_legend(figure, "outside lower center", columns=len(counts))
