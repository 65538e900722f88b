"""The figures of analyses show what they are given in the right place."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.figures import LAYERS, drawn, square, tick_labels
from matplotlib.figure import Figure

from wemoe_pl.reporting.plots.analyses import plot_routing, plot_similarity

EXPERTS = ["cars", "mnist", "dtd"]


@pytest.mark.parametrize("tasks", [1, 3, 5])
def test_the_routing_is_drawn_for_every_task(tmp_path: Path, tasks: int) -> None:
    routing = {f"task {i}": torch.rand(4, len(EXPERTS)) for i in range(tasks)}
    plot_routing(tmp_path / "routing.png", routing, EXPERTS, "Routing")
    pixels = drawn(tmp_path / "routing.png")
    assert min(pixels.shape[:2]) > 300
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100  # colours, not a blank page


def test_the_picture_shows_the_weights(tmp_path: Path) -> None:
    pictures = []
    for column in (0, 2):
        weights = torch.zeros(4, len(EXPERTS))
        weights[:, column] = 1.0
        plot_routing(tmp_path / "routing.png", {"other": weights}, EXPERTS, "Routing")
        pictures.append(drawn(tmp_path / "routing.png"))
    left, right = (np.abs(pictures[0] - pictures[1]).mean(axis=(0, 2)) > 5).nonzero()[0][[0, -1]]
    assert right - left > pictures[0].shape[1] / 4


def test_the_own_expert_of_a_task_is_marked(figure_of: Callable[..., Figure]) -> None:
    routing = {task: torch.rand(5, len(EXPERTS)) for task in ("dtd", "unseen")}
    own, unseen, *_ = figure_of(plot_routing, routing, EXPERTS, "Routing").axes
    [mark] = own.patches
    assert mark.get_window_extent().get_points() == pytest.approx(
        own.transData.transform([(1.5, 4.5), (2.5, -0.5)])
    )
    assert not unseen.patches


@pytest.mark.parametrize(("blocks", "named"), [(12, LAYERS[:48]), (24, LAYERS[::4])])
def test_layers_are_all_named_or_one_of_each_block(
    blocks: int, named: list[str], figure_of: Callable[..., Figure]
) -> None:
    values = dict.fromkeys([*LAYERS[: 4 * blocks], "all"], abs(square(2)))
    by_layer = figure_of(plot_similarity, ["a", "b"], values, values).axes[1]
    assert tick_labels(by_layer)[0] == named
