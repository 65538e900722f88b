"""The figures of analyses show what they are given in the right place."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.figures import LAYERS, drawn, lines_of, tick_labels
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


@pytest.mark.parametrize(
    ("blocks", "named"),
    [(4, ["in", *"0123", "out"]), (24, ["in", *map(str, range(0, 24, 2)), "out"])],
)
def test_layers_of_one_kind_are_a_line_over_the_blocks(
    blocks: int, named: list[str], figure_of: Callable[..., Figure]
) -> None:
    layers = ["patch_embed", *LAYERS[: 4 * blocks], "norm", "all"]
    cosines = {layer: np.full((2, 2), place / 100) for place, layer in enumerate(layers)}
    _, cosine, distance = figure_of(plot_similarity, ["a", "b"], cosines, cosines).axes
    assert tick_labels(cosine)[0] == named
    lines = lines_of(cosine)
    assert list(lines) == [
        *("blocks: norm1", "blocks: attn", "blocks: norm2", "blocks: mlp"), "patch_embed", "norm"
    ]  # fmt: skip
    assert lines["blocks: attn"][:2] == [(0, 0.02), (1, 0.06)]
    assert (lines["patch_embed"], lines["norm"][0][0]) == ([(-1, 0.0)], blocks)
    assert cosine.get_ylabel() == "cosine, mean over pairs"
    assert distance.get_ylabel() == "distance, mean over pairs"


@pytest.mark.parametrize(("change", "darkest"), [(0.01, 0.1), (1.2, 1.2)])
def test_weights_as_at_the_start_are_white_and_small_changes_pale(
    change: float, darkest: float, figure_of: Callable[..., Figure]
) -> None:
    weights = torch.full((4, len(EXPERTS)), 0.3)
    weights[0, 0] += change
    figure = figure_of(plot_routing, {"cars": weights}, EXPERTS, "Routing", 0.3)
    [image] = figure.axes[0].images
    assert image.get_clim() == pytest.approx((0.3 - darkest, 0.3 + darkest))
    assert "white: 0.3, as at the start" in figure.get_suptitle()


def test_where_weights_did_not_begin_alike_nothing_is_said_of_the_start(
    figure_of: Callable[..., Figure],
) -> None:
    figure = figure_of(plot_routing, {"cars": torch.rand(2, 2)}, EXPERTS[:2], "Routing")
    assert figure.get_suptitle().endswith("white: 0")


def test_rows_have_the_names_of_what_routes(figure_of: Callable[..., Figure]) -> None:
    names = ["0 attn", "0 mlp"]
    figure = figure_of(plot_routing, {"cars": torch.rand(2, 2)}, EXPERTS[:2], "Routing", 0.3, names)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == names
