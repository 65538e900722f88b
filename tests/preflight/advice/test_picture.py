"""The picture of advice has its panels, for few experts and for many."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from wemoe_pl.errors import WeMoEError
from wemoe_pl.preflight.advice.measures import TaskVectorFigures
from wemoe_pl.preflight.advice.picture import plot_advice

Figures = Callable[..., TaskVectorFigures]


@pytest.mark.parametrize("count", [2, 20])
def test_the_picture_has_a_panel_for_each_figure(
    count: int, figures: Figures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: drawn.append(self))
    rows = np.random.default_rng(0).normal(size=(count, 4)).tolist()
    with pytest.raises(WeMoEError, match="Cannot write"):  # since nothing was saved
        plot_advice(tmp_path / "advice.png", figures(*rows), "tiny")
    titles = [axis.get_title() for axis in drawn[0].axes]
    assert titles[:2] == ["cosine of task vectors", "length of task vectors"]
    bars = drawn[0].axes[1].patches
    assert len(bars) == 2 * count
    growth = drawn[0].axes[3].lines
    assert len(np.asarray(growth[0].get_xdata())) == count - 1


def test_both_files_are_written(figures: Figures, tmp_path: Path) -> None:
    plot_advice(tmp_path / "advice.png", figures([1, 0], [0, 1]), "tiny")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["advice.png", "advice.svg"]
