"""All figures show what they are given, in files that are equal for equal numbers, and legibly."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from helpers.figures import LAYERS, drawn, square, texts_of
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from wemoe_pl.reporting.plots.analyses import (
    plot_landscape,
    plot_parameters,
    plot_routing,
    plot_routing_share,
    plot_similarity,
)
from wemoe_pl.reporting.plots.run import plot_accuracy, plot_adaptation, plot_confusion
from wemoe_pl.reporting.plots.style import COLOURS, LINE_STYLES
from wemoe_pl.reporting.plots.sweep import plot_costs, plot_sweep

PAGE = 9  # inches of a page's width, to which a wider picture is shrunk
MANY = [f"some_task_{i}" for i in range(20)]


SMALL: list[Any] = [
    pytest.param(
        lambda path, values: plot_accuracy(path, {"WEMoE": {"cars": values}}, "Accuracy"),
        0.3,
        0.6,
        id="accuracy",
    ),
    pytest.param(
        lambda path, curve: plot_adaptation(path, {"train/entropy": curve}, "Adaptation"),
        {1: 0.5, 2: 0.3},
        {1: 0.5, 2: 0.4},
        id="adaptation",
    ),
    pytest.param(
        lambda path, counts: plot_confusion(path, torch.tensor(counts), ["cat", "dog"], "Pets"),
        [[3, 1], [0, 4]],
        [[2, 2], [0, 4]],
        id="confusion",
    ),
    pytest.param(
        lambda path, share: plot_routing_share(path, {"cars": share}, "Share"),
        [0.2, 0.9],
        [0.9, 0.2],
        id="routing share",
    ),
    pytest.param(
        lambda path, line: plot_sweep(path, "depth", {"": line}, "tiny"),
        {0.0: [0.5, 0.6], 1.0: [0.9]},
        {0.0: [0.9], 1.0: [0.5]},
        id="sweep",
    ),
    pytest.param(
        lambda path, line: plot_sweep(path, "rate", {"a": line}, "tiny"),
        {1e-4: [0.5], 1e-2: [0.9]},
        {1e-4: [0.9], 1e-2: [0.5]},
        id="sweep over a logarithmic axis",
    ),
    pytest.param(
        lambda path, cosine: plot_similarity(
            path,
            ["a", "b"],
            dict.fromkeys(("blocks.0.mlp", "all"), np.array([[1.0, cosine], [cosine, 1.0]])),
            dict.fromkeys(("blocks.0.mlp", "all"), np.array([[0.0, 2.0], [2.0, 0.0]])),
        ),
        0.1,
        0.9,
        id="similarity",
    ),
    pytest.param(
        lambda path, loss: plot_landscape(
            path, np.linspace(-0.5, 1.5, 3), {"a": loss, "b": loss.T}, 0.3
        ),
        np.arange(9.0).reshape(3, 3),
        np.arange(9.0)[::-1].reshape(3, 3),
        id="landscape",
    ),
    pytest.param(
        lambda path, line: plot_costs(path, {"samples": {"plain": line}}, "An MLP"),
        {1: 0.1, 4: 0.2},
        {1: 0.1, 4: 0.9},
        id="costs",
    ),
    pytest.param(
        lambda path, counts: plot_parameters(path, {"WEMoE": counts}),
        [(10, 1), (20, 2)],
        [(10, 1), (90, 9)],
        id="parameters",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("draw", "one", "other"), SMALL)
def test_other_numbers_give_another_picture_and_equal_ones_the_same_files(
    draw: Any, one: Any, other: Any, tmp_path: Path
) -> None:
    pictures, vectors = [], []
    for numbers in (one, one, other):
        draw(tmp_path / "picture.png", numbers)
        pictures.append(drawn(tmp_path / "picture.png"))
        vectors.append((tmp_path / "picture.svg").read_bytes())
    assert min(pictures[0].shape[:2]) > 250
    assert len(np.unique(pictures[0].reshape(-1, 3), axis=0)) > 20
    assert np.array_equal(pictures[0], pictures[1])
    assert pictures[0].shape != pictures[2].shape or not np.array_equal(pictures[0], pictures[2])
    assert vectors[0] == vectors[1] != vectors[2]
    assert ElementTree.fromstring(vectors[0]).tag.endswith("svg")
    assert b"date>" not in vectors[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["picture.png", "picture.svg"]


GRID = np.linspace(-0.5, 1.5, 3)
LARGE: list[Any] = [
    pytest.param(
        plot_accuracy,
        {name: dict.fromkeys(MANY, 1.0) for name in ("pretrained", "TIES", "WEMoE", "individual")},
        "WEMoE on twenty tasks",
        id="accuracy",
    ),
    pytest.param(
        plot_adaptation,
        {
            f"{key}/{task}": {1: 0.5, 1000: 0.1}
            for key in ("train/entropy", "val/acc", "val/diversity")
            for task in MANY
        },
        "WEMoE on twenty tasks",
        id="adaptation",
    ),
    pytest.param(
        plot_adaptation,
        {f"train/entropy/{task}": {1: 0.5} for task in MANY},
        "WEMoE on twenty tasks",
        id="adaptation without validation",
    ),
    *[
        pytest.param(
            plot_confusion,
            torch.eye(size),
            [name.format(i) for i in range(size)],
            "WEMoE on miniature: confusion on somewhere, the task of lowest accuracy",
            id=f"confusion of {size}, such as {name}",
        )
        for name in ("{}", "class number {} that has quite a long name")
        for size in (2, 12, 20, 397)
    ],
    *[
        pytest.param(
            plot_routing,
            {task: torch.rand(24, experts) for task in MANY[:experts]},
            MANY[:experts],
            "Routing of WEMoE on several tasks",
            id=f"routing of {experts}",
        )
        for experts in (1, 8, 12, 20)
    ],
    pytest.param(
        plot_routing_share,
        dict.fromkeys(MANY, [1.0] * 24),
        "Routing of WEMoE on several tasks\n"
        "how often the task's own expert has the largest routing weight",
        id="routing share",
    ),
    pytest.param(
        plot_sweep,
        "learning_rate",
        {f"router_depth={i},diversity={i}": {1e-4: [0.5], 1e-2: [0.9]} for i in range(12)},
        "miniature",
        id="sweep",
    ),
    pytest.param(
        plot_similarity,
        MANY,
        dict.fromkeys([*LAYERS, "all"], square(20)),
        dict.fromkeys([*LAYERS, "all"], 1000 * abs(square(20))),
        id="similarity",
    ),
    pytest.param(
        plot_landscape, GRID, {name: 9 + 9 * square(3) for name in MANY[:2]}, 0.3, id="landscape"
    ),
    pytest.param(
        plot_parameters,
        {f"WEMoE, depth {i}": [(10**9, 10**6), (2 * 10**9, 10**7)] for i in range(4)},
        id="parameters",
    ),
    pytest.param(
        plot_costs,
        {
            key: {f"a way with a long name {i}, forward + backward": {1: 1.0} for i in range(12)}
            for key in ("samples", "experts")
        },
        "An MLP of vitb32; values that are not on the axis: samples 16, experts 8, depth 2",
        id="costs",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("plot", "data"), [(case.values[0], case.values[1:]) for case in LARGE],
                         ids=[case.id for case in LARGE])  # fmt: skip
def test_all_text_can_be_read_however_much_is_drawn(
    plot: Callable[..., None], data: Any, figure_of: Callable[..., Figure]
) -> None:
    figure = figure_of(plot, *data)
    texts = texts_of(figure)
    shrunk = min(1.0, PAGE / figure.get_figwidth())
    assert min(float(text.get_fontsize()) for text in texts) * shrunk >= 7
    page = figure.bbox.padded(1)
    cut = [t.get_text() for t, box in texts.items() if not is_inside(box, page)]
    assert not cut
    inner = [(text.get_text(), box.padded(-1)) for text, box in texts.items()]
    assert not [(a, b) for (a, one), (b, other) in combinations(inner, 2) if one.overlaps(other)]


def is_inside(box: Bbox, page: Bbox) -> bool:
    return page.x0 <= box.x0 and page.y0 <= box.y0 and box.x1 <= page.x1 and box.y1 <= page.y1


def test_lines_differ_in_more_than_their_colour() -> None:
    looks = list(LINE_STYLES)
    assert len({look["marker"] for look in looks[:8]}) == 8
    assert len({tuple(look.values()) for look in looks}) == len(looks) == 24


@pytest.mark.parametrize(
    "blind",  # Machado et al. 2009, severity 1, of linear RGB
    [
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]],
    ],
    ids=["protanopia", "deuteranopia"],
)  # fmt: skip
def test_colours_are_told_apart_by_the_colour_blind(blind: list[list[float]]) -> None:
    linear = np.array([to_rgb(colour) for colour in COLOURS]) ** 2.2
    seen = np.clip(linear @ np.array(blind).T, 0, 1) ** (1 / 2.2)
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 0.15
