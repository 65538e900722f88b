"""The pictures: of routing, sweeps, task vectors, loss landscapes and sizes of models."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from wemoe_pl.files import atomic_write

Numbers = NDArray[np.float64]
DECADES = 100  # from this ratio of the largest value to the least, an axis is logarithmic


def plot_routing(
    path: Path, routing: Mapping[str, Tensor], experts: Sequence[str], title: str
) -> None:
    """Draw the mean routing weights of every task's samples, blocks × experts, as PNG.

    Args:
        path: where to.
        routing: per task, (blocks, experts).
        experts: the experts' names, in the order of the columns.
        title: of the whole picture.
    """
    columns = min(4, len(routing))
    rows = math.ceil(len(routing) / columns)
    figure = Figure(figsize=(2.6 * columns + 1, 2.3 * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    limit = max(float(weights.abs().max()) for weights in routing.values())
    for axis, (task, weights) in zip(axes.flat, routing.items(), strict=False):
        image = axis.imshow(weights.numpy(), vmin=-limit, vmax=limit, cmap="PuOr_r", aspect="auto")
        axis.set_title(f"images of {task}", fontsize=9)
        axis.set_xticks(range(len(experts)), experts, rotation=90, fontsize=7)
        axis.set_yticks(range(len(weights)))
        axis.set_ylabel("block", fontsize=8)
        if task in experts:  # mark its own expert's column
            axis.axvline(experts.index(task) - 0.5, color="black", linewidth=0.8)
            axis.axvline(experts.index(task) + 0.5, color="black", linewidth=0.8)
    for axis in axes.flat[len(routing) :]:
        axis.set_axis_off()
    figure.colorbar(image, ax=axes, label="mean routing weight", shrink=0.8)
    figure.suptitle(f"{title}\nown expert between the black lines", fontsize=10)
    save(figure, path)


def plot_routing_share(path: Path, share: Mapping[str, Sequence[float]], title: str) -> None:
    """Draw how often a task's own expert has the largest routing weight, block by block, as PNG.

    Args:
        path: where to.
        share: per task, one number from 0 to 1 per block.
        title: of the picture.
    """
    figure = Figure(figsize=(7.5, 4), layout="constrained")
    axis = figure.subplots()
    for task, values in share.items():
        axis.plot(range(len(values)), values, marker="o", markersize=3, linewidth=1, label=task)
    average = np.mean(list(share.values()), axis=0)
    axis.plot(range(len(average)), average, color="black", linewidth=2.5, label="mean")
    axis.set(xlabel="block", ylabel="share of test images", ylim=(-0.03, 1.03), title=title)
    axis.set_xticks(range(len(average)))
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    save(figure, path)


def plot_sweep(
    path: Path, key: str, lines: Mapping[str, Mapping[float, Sequence[float]]], suite: str
) -> None:
    """Draw the mean accuracy over the values of a key, a line per combination of others, as PNG.

    Args:
        path: where to.
        key: what is on the horizontal axis.
        lines: by label, the mean accuracies (0 to 1) of all seeds at every value.
        suite: its name, for the title.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    for label, line in lines.items():
        values = sorted(line)
        heights = [100 * np.array(line[value]) for value in values]
        spread = [[h.mean() - h.min(), h.max() - h.mean()] for h in heights]
        axis.errorbar(
            values,
            [h.mean() for h in heights],
            np.array(spread).T,
            marker="o",
            capsize=3,
            label=label,
        )
    everything = [value for line in lines.values() for value in line]
    if min(everything) > 0 and max(everything) / min(everything) >= DECADES:
        axis.set_xscale("log")
    axis.set(xlabel=key, ylabel="mean accuracy, %", title=f"Sweep on {suite}")
    if any(lines):
        axis.legend(frameon=False)
    axis.grid(alpha=0.3)
    save(figure, path)


def plot_similarity(
    path: Path,
    experts: Sequence[str],
    cosines: Mapping[str, Numbers],
    distances: Mapping[str, Numbers],
) -> None:
    """Draw how near task vectors are: the cosines of all pairs, and means layer by layer, as PNG.

    Args:
        path: where to.
        experts: T names.
        cosines: by layer, (T, T); "all" is the whole task vector.
        distances: likewise.
    """
    figure = Figure(figsize=(13, 5.2), layout="constrained")
    heat, by_layer = figure.subplots(1, 2, width_ratios=(1, 1.2))
    everything = cosines["all"]
    image = heat.imshow(everything, vmin=-1, vmax=1, cmap="PuOr_r")
    for (i, j), value in np.ndenumerate(everything):
        dark = "white" if abs(value) > 0.6 else "black"
        heat.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color=dark)
    heat.set_xticks(range(len(experts)), experts, rotation=90)
    heat.set_yticks(range(len(experts)), experts)
    heat.set_title("cosine similarity of task vectors")
    figure.colorbar(image, ax=heat, shrink=0.8)
    layers = [layer for layer in cosines if layer != "all"]
    others = ~np.eye(len(experts), dtype=bool)
    draw_layers(
        by_layer, layers, [cosines[layer][others].mean() for layer in layers], "C0", "cosine"
    )
    twin = by_layer.twinx()
    draw_layers(
        twin, layers, [distances[layer][others].mean() for layer in layers], "C1", "distance"
    )
    by_layer.set_title("mean over pairs, by layer")
    save(figure, path)


def draw_layers(
    axis: Axes, layers: Sequence[str], values: Sequence[float], colour: str, name: str
) -> None:
    """One line over layers, with an axis of its colour."""
    axis.plot(range(len(layers)), values, marker="o", markersize=4, color=colour)
    axis.set_xticks(range(len(layers)), layers, rotation=90, fontsize=7)
    axis.set_ylabel(name, color=colour)
    axis.tick_params(axis="y", labelcolor=colour)
    axis.set_ylim(min(0.0, *values) * 1.1, max(values) * 1.1)


def plot_landscape(
    path: Path, grid: Numbers, losses: Mapping[str, Numbers], scaling: float
) -> None:
    """Draw contours of two tasks' losses, and of their sum, over θ0 + a τ_1 + b τ_2, as PNG.

    Args:
        path: where to.
        grid: the values of a, and of b, (n,).
        losses: by task, (n, n), a row per a.
        scaling: λ of the task arithmetic that is marked.
    """
    (first, one), (second, other) = losses.items()
    panels = {f"loss of {first}": one, f"loss of {second}": other, "sum": one + other}
    figure = Figure(figsize=(14, 4.4), layout="constrained")
    marks = {
        "pretrained": (0, 0),
        first: (1, 0),
        second: (0, 1),
        f"λ = {scaling}": (scaling, scaling),
    }
    for axis, (title, values) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        contours = axis.contourf(grid, grid, values.T, levels=24, cmap="viridis")
        figure.colorbar(contours, ax=axis)
        for name, (a, b) in marks.items():
            axis.plot(a, b, marker="o", color="white", markeredgecolor="black")
            axis.annotate(
                name, (a, b), xytext=(5, 5), textcoords="offset points", color="white", fontsize=8
            )
        axis.set(title=title, xlabel=f"a, of {first}", ylabel=f"b, of {second}", aspect="equal")
    save(figure, path)


def plot_parameters(path: Path, counts: Mapping[str, Sequence[tuple[int, int]]]) -> None:
    """Draw total and trainable parameters by number of tasks, a line per method, as PNG.

    Args:
        path: where to.
        counts: by method, (total, trainable) for 1, 2, … tasks.
    """
    figure = Figure(figsize=(11, 4), layout="constrained")
    for place, axis in enumerate(figure.subplots(1, 2)):
        for method, pairs in counts.items():
            values = [pair[place] for pair in pairs]
            axis.plot(range(1, len(values) + 1), values, marker="o", markersize=4, label=method)
        axis.set(xlabel="tasks", title=("total parameters", "trainable parameters")[place])
        axis.grid(alpha=0.3)
    axis.set_yscale("log")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    save(figure, path)


def plot_costs(
    path: Path, curves: Mapping[str, Mapping[str, Mapping[int, float]]], title: str
) -> None:
    """Draw milliseconds over what they grow with, a panel for each, as PNG.

    Args:
        path: where to.
        curves: by the label of the horizontal axis, then by that of the line, seconds at each
            value.
        title: of the whole picture.
    """
    figure = Figure(figsize=(5 * len(curves) + 2, 4), layout="constrained")
    for axis, (key, lines) in zip(
        figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True
    ):
        for label, line in lines.items():
            values = sorted(line)
            axis.plot(
                values, [1e3 * line[v] for v in values], marker="o", markersize=4, label=label
            )
        axis.set(xlabel=key, ylabel="milliseconds", xlim=(0, None), ylim=(0, None))
        axis.grid(alpha=0.3)
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.suptitle(title, fontsize=10)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=150)
