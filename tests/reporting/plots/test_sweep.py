"""The figure of a sweep: where its axis is logarithmic, and what its title says of seeds."""

from collections.abc import Callable

import pytest
from helpers.figures import legend_of
from matplotlib.figure import Figure

from wemoe_pl.reporting.plots.sweep import plot_sweep


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


@pytest.mark.parametrize("seeds", [1, 2])
def test_bars_are_explained_where_there_are_several_seeds(
    seeds: int, figure_of: Callable[..., Figure]
) -> None:
    figure = figure_of(plot_sweep, "rate", {"a": {1.0: [0.5] * seeds}}, "tiny")
    assert ("over seeds" in figure.get_suptitle()) is (seeds > 1)
