"""Figures of sweeps and of costs: their axes, and what a title says of seeds."""

from collections.abc import Callable

import pytest
from helpers.figures import legend_of, lines_of
from matplotlib.figure import Figure

from wemoe_pl.reporting.plots.sweep import plot_costs, plot_sweep


@pytest.mark.parametrize(
    ("values", "scale"),
    [((0.0001, 0.01), "log"), ((0.1, 0.9), "linear"), ((0.0, 1000.0), "linear")],
)
def test_the_axis_is_logarithmic_from_a_ratio_of_a_hundred(
    values: tuple[float, float], scale: str, figure_of: Callable[..., Figure]
) -> None:
    line = {value: [0.5] for value in values}
    figure = figure_of(plot_sweep, "rate", {"depth=2": line}, "tiny")
    assert figure.axes[0].get_xscale() == scale
    assert legend_of(figure) == ["depth=2"]


def test_differences_are_not_made_larger_than_they_are(figure_of: Callable[..., Figure]) -> None:
    line = {1.0: [0.961], 2.0: [0.969]}
    axis = figure_of(plot_sweep, "depth", {"": line}, "tiny", "agreement with the experts, %").axes[
        0
    ]
    low, high = axis.get_ylim()
    assert low < 80 < 100 < high
    assert axis.get_ylabel() == "mean agreement with the experts, %"


@pytest.mark.parametrize("seeds", [1, 2])
def test_bars_are_explained_where_there_are_several_seeds(
    seeds: int, figure_of: Callable[..., Figure]
) -> None:
    figure = figure_of(plot_sweep, "rate", {"a": {1.0: [0.5] * seeds}}, "tiny")
    assert ("over seeds" in figure.get_suptitle()) is (seeds > 1)


def test_costs_have_a_panel_each_in_a_row_and_are_in_milliseconds(
    figure_of: Callable[..., Figure],
) -> None:
    curves = {"samples": {"plain": {4: 0.002, 1: 0.001}}, "experts": {"WEMoE": {8: 0.25}}}
    figure = figure_of(plot_costs, curves, "one layer")
    assert [axis.get_xlabel() for axis in figure.axes] == ["samples", "experts"]
    for axis in figure.axes:  # a row of panels, and no other
        place = axis.get_subplotspec()
        assert place is not None
        assert place.get_geometry()[:2] == (1, 2)
    assert lines_of(figure.axes[0]) == {"plain": [(1.0, 1.0), (4.0, 2.0)]}
    assert figure.axes[1].get_ylim()[0] == 0
    assert legend_of(figure) == ["plain", "WEMoE"]
