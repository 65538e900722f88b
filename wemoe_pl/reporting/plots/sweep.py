"""Draw the figures of sweeps, and of times that are measured over sizes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from wemoe_pl.reporting.plots.style import add_legend, saved_figure, set_share_limits
from wemoe_pl.training.shown_metrics import ACCURACY

DECADES = 100  # an axis is logarithmic from this ratio of its largest value to its least
MOST_TICKS = 10  # ticks whose labels have room on an axis


def plot_sweep(
    path: Path,
    key: str,
    lines: Mapping[str, Mapping[float, Sequence[float]]],
    suite: str,
    measured: str = ACCURACY.label,
    note: str = "",
) -> None:
    """Draw the mean accuracy over the values of a key, with a line per combination of other keys.

    Args:
        path: the PNG file.
        key: the label of the horizontal axis.
        lines: the mean accuracies (0 to 1) of all seeds, by the label of the line and the value.
        suite: the name of the suite, for the title.
        measured: the label of the metric, if another one stands in for the accuracy.
        note: a note on the sweep, for the title.
    """
    several = any(len(seeds) > 1 for line in lines.values() for seeds in line.values())
    bars = "bars reach from the smallest to the largest value over seeds" * several
    about = "\n".join(filter(None, (f"Sweep on {suite}", note, bars)))
    with saved_figure(path, 6, 4 + 0.18 * len(lines), about) as figure:
        axis = figure.subplots()
        for label, line in lines.items():
            values = sorted(line)
            heights = [100 * np.array(line[value]) for value in values]
            spread = [[h.mean() - h.min(), h.max() - h.mean()] for h in heights]
            means = [h.mean() for h in heights]
            errors = np.array(spread).T
            axis.errorbar(values, means, errors, capsize=3, elinewidth=0.8, label=label)
        everything = [value for line in lines.values() for value in line]
        if min(everything) > 0 and max(everything) / min(everything) >= DECADES:
            axis.set_xscale("log")
        else:
            set_ticks(axis, sorted(set(everything)))
        seeds = (seed for line in lines.values() for value in line.values() for seed in value)
        set_share_limits(axis, [100 * seed for seed in seeds])
        axis.set(xlabel=key, ylabel=f"mean {measured}")
        axis.grid()
        add_legend(figure, "outside lower center")


def set_ticks(axis: Axes, values: Sequence[float]) -> None:
    """Put the ticks of a horizontal axis at the measured values, if their labels do not overlap.

    Otherwise matplotlib chooses the ticks, at whole numbers if all values are whole.
    """
    gaps = np.diff(values)
    if len(gaps) and gaps.min() >= (values[-1] - values[0]) / MOST_TICKS:
        axis.set_xticks(values, [f"{value:g}" for value in values])
    else:
        is_whole = all(float(value).is_integer() for value in values)
        axis.xaxis.set_major_locator(MaxNLocator(MOST_TICKS, integer=is_whole))


def plot_costs(
    path: Path, curves: Mapping[str, Mapping[str, Mapping[int, float]]], title: str
) -> None:
    """Draw times in milliseconds over the quantities that they grow with, each in its own panel.

    Args:
        path: the PNG file.
        curves: the seconds by the label of the horizontal axis, by the label of the line, and by
            the value.
        title: the title of the whole figure.
    """
    names = {label for lines in curves.values() for label in lines}
    with saved_figure(path, 4 * len(curves) + 2, 3.6 + 0.1 * len(names), title) as figure:
        axes = figure.subplots(1, len(curves), squeeze=False)[0]
        for axis, (key, lines) in zip(axes, curves.items(), strict=True):
            for label, line in lines.items():
                values = sorted(line)
                axis.plot(values, [1e3 * line[value] for value in values], label=label)
            axis.set(xlabel=key, ylabel="milliseconds", xlim=(0, None), ylim=(0, None))
            axis.grid()
        add_legend(figure, "outside lower center", columns=2)
