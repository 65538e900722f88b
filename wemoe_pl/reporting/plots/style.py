"""Define the style that all figures share: colours, lines, texts and legends, and save figures.

Each figure is written twice under one name: as PNG, to look at, and as SVG, to print. Lines differ
in more than their colour, and a colour-blind reader can tell the colours apart.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from cycler import cycler
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from wemoe_pl.system.files import SHIPPED, atomic_write

FloatArray = NDArray[np.float64]
LegendPlace = Literal["outside right center", "outside right lower", "outside lower center"]

# Okabe and Ito's colours, with a dark grey instead of their black, which is kept for means.
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#555555", "#F0E442"]
LINE_STYLES = cycler(linestyle=["-", "--", ":"]) * cycler(color=COLOURS, marker="os^Dv*PX")
LEAST_SPAN = 20  # percentage points that an axis shows at least
LINE_HEIGHT = 0.135  # height in inches of a line of the smallest text


@contextmanager
def saved_figure(path: Path, width: float, height: float, title: str) -> Iterator[Figure]:
    """Make a figure in the common style, and save it when the block ends.

    Args:
        path: the PNG file; the SVG file is written next to it.
        width: the width in inches.
        height: the height in inches.
        title: the title above all panels.
    """
    ours = SHIPPED / "figures.mplstyle"  # applied to "default", not to a user's own matplotlibrc
    with style.context(["default", ours, {"axes.prop_cycle": LINE_STYLES}]):
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.suptitle(title, wrap=True)
        yield figure
        save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG and, next to it, as SVG, each whole or not at all."""
    for suffix, metadata in {".png": {}, ".svg": {"Date": None}}.items():
        with atomic_write(path.with_suffix(suffix)) as temporary:
            figure.savefig(temporary, metadata=metadata)
        figure.set_layout_engine(None)  # laid out already; a second time takes half of the time


def set_share_limits(axis: Axes, values: Iterable[float]) -> None:
    """Set the limits of a vertical axis in percent to round numbers, too far apart to show noise.

    Args:
        axis: the panel.
        values: the values that are drawn, in percent.
    """
    values = list(values)
    low, high = 10 * math.floor(min(values) / 10), 10 * math.ceil(max(values) / 10)
    low = max(0, min(low, high - LEAST_SPAN))
    high = max(high, low + LEAST_SPAN)
    margin = 0.04 * (high - low)  # for the markers
    axis.set_ylim(low - margin, high + margin)


def add_legend(figure: Figure, place: LegendPlace, columns: int = 1) -> None:
    """Add one legend of all panels outside them, with each label once."""
    handles = {
        label: handle
        for axis in figure.axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    if handles:
        figure.legend(handles.values(), handles.keys(), loc=place, ncols=columns)


def write_cells(
    axis: Axes, values: FloatArray, light: NDArray[np.bool_], form: str = "{:.0f}"
) -> None:
    """Write the numbers of a heat map into its cells, in white where `light`; NaN stays empty."""
    for (i, j), value in np.ndenumerate(values):
        if not np.isnan(value):
            colour = "white" if light[i, j] else "black"
            axis.text(j, i, form.format(value), ha="center", va="center", fontsize=8, color=colour)
