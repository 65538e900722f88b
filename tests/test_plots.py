"""Pictures show what they are given: other numbers give other pictures, in the right place."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from wemoe_pl.plots import (
    plot_costs,
    plot_landscape,
    plot_parameters,
    plot_routing,
    plot_routing_share,
    plot_similarity,
    plot_sweep,
)

EXPERTS = ["cars", "mnist", "dtd"]


def drawn(path: Path) -> np.ndarray[Any, Any]:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"), dtype=float)


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
    assert right - left > pictures[0].shape[1] / 3
    assert [path.name for path in tmp_path.iterdir()] == ["routing.png"]


@pytest.mark.parametrize(
    ("draw", "one", "other"),
    [
        (
            lambda path, share: plot_routing_share(path, {"cars": share}, "Share"),
            [0.2, 0.9],
            [0.9, 0.2],
        ),
        (
            lambda path, line: plot_sweep(path, "depth", {"": line}, "tiny"),
            {0.0: [0.5, 0.6], 1.0: [0.9]},
            {0.0: [0.9], 1.0: [0.5]},
        ),
        (
            lambda path, line: plot_sweep(path, "rate", {"a": line}, "tiny"),
            {1e-4: [0.5], 1e-2: [0.9]},  # of which the axis is logarithmic
            {1e-4: [0.9], 1e-2: [0.5]},
        ),
        (
            lambda path, cosine: plot_similarity(
                path,
                ["a", "b"],
                dict.fromkeys(("blocks.0.mlp", "all"), np.array([[1.0, cosine], [cosine, 1.0]])),
                dict.fromkeys(("blocks.0.mlp", "all"), np.array([[0.0, 2.0], [2.0, 0.0]])),
            ),
            0.1,
            0.9,
        ),
        (
            lambda path, loss: plot_landscape(
                path, np.linspace(-0.5, 1.5, 3), {"a": loss, "b": loss.T}, 0.3
            ),
            np.arange(9.0).reshape(3, 3),
            np.arange(9.0)[::-1].reshape(3, 3),
        ),
        (
            lambda path, line: plot_costs(path, {"samples": {"plain": line}}, "An MLP"),
            {1: 0.1, 4: 0.2},
            {1: 0.1, 4: 0.9},
        ),
        (
            lambda path, counts: plot_parameters(path, {"WEMoE": counts}),
            [(10, 1), (20, 2)],
            [(10, 1), (90, 9)],
        ),
    ],
)
def test_other_numbers_give_another_picture(
    draw: Any, one: Any, other: Any, tmp_path: Path
) -> None:
    pictures = []
    for numbers in (one, one, other):
        draw(tmp_path / "picture.png", numbers)
        pictures.append(drawn(tmp_path / "picture.png"))
    assert min(pictures[0].shape[:2]) > 300
    assert len(np.unique(pictures[0].reshape(-1, 3), axis=0)) > 20
    assert np.array_equal(pictures[0], pictures[1])
    assert pictures[0].shape != pictures[2].shape or not np.array_equal(pictures[0], pictures[2])
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]
