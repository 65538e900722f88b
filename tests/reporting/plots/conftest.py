"""Figures that are looked at without being saved."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure


@pytest.fixture(autouse=True)
def figures_are_drawn(drawn_figures: None) -> None:
    """Draw here what other tests leave blank."""


@pytest.fixture
def figure_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Figure]:
    """`figure_of(plot_sweep, "depth", …)`: the figure itself, instead of its files."""
    figures: list[Figure] = []
    monkeypatch.setattr(
        "wemoe_pl.reporting.plots.style.save", lambda figure, path: figures.append(figure)
    )

    def draw(plot: Callable[..., None], *data: Any) -> Figure:
        plot(tmp_path / "picture.png", *data)
        figures[-1].draw_without_rendering()
        return figures[-1]

    return draw
