"""Draw the figures that advice rests on: cosines, lengths by block, and growth with tasks."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from wemoe_pl.moe.scaling import DEFAULT_SCALING
from wemoe_pl.preflight.advice.measures import ALL, TaskVectorFigures
from wemoe_pl.preflight.advice.sentences import REACH
from wemoe_pl.reporting.plots.analyses import draw_layers
from wemoe_pl.reporting.plots.style import COLOURS, add_legend, saved_figure, write_cells

CELL_SIDE = 0.34  # inches of a cell of the map of cosines
MANY = 12  # experts, above which cells are too narrow for numbers


def plot_advice(path: Path, found: TaskVectorFigures, suite: str) -> None:
    """Draw cosines of all pairs, lengths by task and by block, and growth with tasks.

    Args:
        path: the PNG file; the SVG file is written next to it.
        found: the figures.
        suite: the name of the suite, for the title.
    """
    side = max(CELL_SIDE * len(found.tasks), 2.5)
    panels: Any = [["cosines", "lengths"], ["layers", "growth"]]
    with saved_figure(path, 10, side + 4.6, f"Task vectors of {suite}") as figure:
        axes: dict[str, Axes] = figure.subplot_mosaic(panels, height_ratios=(side + 0.8, 3.0))
        draw_cosines(axes["cosines"], found)
        draw_lengths(axes["lengths"], found)
        means = {layer: float(found.lengths(layer).mean()) for layer in found.grams if layer != ALL}
        finite = {layer: 100 * value for layer, value in means.items() if np.isfinite(value)}
        draw_layers(axes["layers"], finite, (0, 0.1))
        axes["layers"].set_ylabel("length, % of pretrained, mean")
        draw_growth(axes["growth"], found)
        add_legend(figure, "outside lower center", columns=4)


def draw_cosines(axis: Axes, found: TaskVectorFigures) -> None:
    """Draw a map of the cosines of all pairs of task vectors."""
    cosines = found.cosines()
    image = axis.imshow(cosines, vmin=-1, vmax=1, cmap="PuOr_r")
    if len(found.tasks) <= MANY:
        write_cells(axis, cosines.round(2) + 0.0, light=abs(cosines) > 0.6, form="{:.2f}")
    axis.set_xticks(range(len(found.tasks)), found.tasks, rotation=90)
    axis.set_yticks(range(len(found.tasks)), found.tasks)
    axis.set_title("cosine of task vectors", fontsize=9)
    axis.figure.colorbar(image, ax=axis, shrink=0.8)


def draw_lengths(axis: Axes, found: TaskVectorFigures) -> None:
    """Draw a bar for the length of each task vector, of which one part is outside the MLPs."""
    lengths = 100 * found.lengths()
    outside = 100 * np.sqrt(found.outside.diagonal()) / found.norms[ALL]
    places = np.arange(len(found.tasks))
    axis.barh(places, lengths, color=COLOURS[0], label="whole task vector")
    axis.barh(places, outside, height=0.4, color=COLOURS[1], label="outside the MLPs")
    axis.set_yticks(places, found.tasks)
    axis.invert_yaxis()
    axis.set_xlabel("length, % of the pretrained weights")
    axis.set_title("length of task vectors", fontsize=9)


def draw_growth(axis: Axes, found: TaskVectorFigures) -> None:
    """Draw the reach of the sum and the share of conflicts for the first 2, 3, … tasks."""
    counts = range(2, len(found.tasks) + 1)
    reach = [found.reach(DEFAULT_SCALING, count) for count in counts]
    about = f"reach of the sum × {DEFAULT_SCALING}"
    axis.plot(counts, reach, color=COLOURS[2], marker="o", linestyle="-", label=about)
    axis.plot(
        counts, found.conflicts, color=COLOURS[3], marker="s", linestyle="--",
        label="share of sign conflicts",
    )  # fmt: skip
    furthest = "reach of the furthest expert"
    axis.axhline(REACH, color="black", linewidth=1, linestyle=":", label=furthest)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("number of tasks, in the order of the suite")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid()
