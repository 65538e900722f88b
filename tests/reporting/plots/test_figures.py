"""Pictures show what they are given: other numbers give other pictures, in the right place."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from wemoe_pl.reporting.plots.figures import (
    COLOURS,
    LINES,
    plot_accuracy,
    plot_adaptation,
    plot_confusion,
    plot_costs,
    plot_landscape,
    plot_parameters,
    plot_routing,
    plot_routing_share,
    plot_similarity,
    plot_sweep,
)

pytestmark = pytest.mark.usefixtures("drawn_figures")
PAGE = 9  # inches of a page's width, to which a wider picture is shrunk
EXPERTS = ["cars", "mnist", "dtd"]
MANY = [f"some_task_{i}" for i in range(20)]
ACCURACY = {
    "pretrained": {"cars": 0.5, "mnist": 0.25},
    "WEMoE": {"cars": 0.75, "mnist": 1.0},
    "individual": {"mnist": 1.0},
}
CURVES = {
    "train/entropy": {10: 0.6, 20: 0.3},
    "train/entropy/cars": {10: 0.8, 20: 0.5},
    "train/entropy/mnist": {20: 0.1, 10: 0.4},
    "train/learning_rate": {10: 0.001},
    "val/acc/cars": {0: 0.5, 20: 0.75},
    "val/diversity/dtd": {20: 0.9},
}


def drawn(path: Path) -> np.ndarray[Any, Any]:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"), dtype=float)


@pytest.fixture
def figure_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Figure]:
    """`figure_of(plot_sweep, "depth", …)`: the figure itself, instead of its files."""
    figures: list[Figure] = []
    monkeypatch.setattr(
        "wemoe_pl.reporting.plots.figures.save", lambda figure, path: figures.append(figure)
    )

    def draw(plot: Callable[..., None], *data: Any) -> Figure:
        plot(tmp_path / "picture.png", *data)
        figures[-1].draw_without_rendering()
        return figures[-1]

    return draw


def legend_of(figure: Figure) -> list[str]:
    [legend] = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def lines_of(axis: Axes) -> dict[str, list[tuple[float, float]]]:
    return {
        str(line.get_label()): [(x, y) for x, y in np.asarray(line.get_xydata()).tolist()]
        for line in axis.lines
    }


def tick_labels(axis: Axes) -> tuple[list[str], list[str]]:
    labels = axis.get_xticklabels(), axis.get_yticklabels()
    across, down = ([label.get_text() for label in each if label.get_text()] for each in labels)
    return across, down


def texts_of(figure: Figure) -> dict[Text, Bbox]:
    """All text that is drawn, with its place in pixels."""
    texts: list[Text] = []

    def note(text: Text, renderer: Any) -> None:
        if text.get_visible() and text.get_text().strip():
            texts.append(text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", note)
        figure.draw_without_rendering()
    return {text: text.get_window_extent() for text in texts}


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


def square(size: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).uniform(-0.99, 0.99, (size, size))


LAYERS = [f"blocks.{i}.{part}" for i in range(24) for part in ("norm1", "attn", "norm2", "mlp")]
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
            "WEMoE on miniature: confusion on somewhere, the task of least accuracy",
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
        "Routing of WEMoE on several tasks\nown expert has the largest routing weight",
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
        "An MLP of vitb32; where it is not the axis: samples 16, experts 8, depth 2",
        id="costs",
    ),
]


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
    looks = list(LINES)
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


def test_accuracy_is_in_percent_with_means_last_and_dashes_for_what_is_not_there(
    figure_of: Callable[..., Figure],
) -> None:
    figure = figure_of(plot_accuracy, ACCURACY, "WEMoE on tiny")
    [axis] = figure.axes
    bars = {
        str(bar.get_label()): [patch.get_width() for patch in bar.patches]
        for bar in axis.containers
        if isinstance(bar, BarContainer)
    }
    assert bars == {
        "pretrained": [50, 25, 37.5],
        "WEMoE": [75, 100, 87.5],
        "individual": [0, 100, 100],
    }
    assert [text.get_text() for text in axis.texts] == [
        *("50.0", "25.0", "37.5"), *("75.0", "100.0", "87.5"), *("–", "100.0", "100.0"),
    ]  # fmt: skip
    assert tick_labels(axis)[1] == ["cars", "mnist", "mean"]
    assert legend_of(figure) == list(ACCURACY)
    heights = [patch.get_window_extent().y0 for patch in axis.patches[::3]]
    assert heights == sorted(heights, reverse=True)  # the first at the top


def test_adaptation_has_a_panel_for_each_kind_and_one_legend(
    figure_of: Callable[..., Figure],
) -> None:
    figure = figure_of(plot_adaptation, CURVES, "WEMoE on tiny")
    entropy, accuracy, diversity = figure.axes
    assert lines_of(entropy) == {
        "cars": [(10, 0.8), (20, 0.5)],
        "mnist": [(10, 0.4), (20, 0.1)],
        "mean": [(10, 0.6), (20, 0.3)],
    }
    assert lines_of(accuracy) == {"cars": [(0, 50), (20, 75)]}
    assert lines_of(diversity) == {"dtd": [(20, 90)]}
    assert entropy.get_ylabel() == "entropy, nats"
    assert accuracy.get_ylabel() == "accuracy, %"
    assert diversity.get_xlabel() == "optimiser step"
    assert legend_of(figure) == ["cars", "mnist", "mean", "dtd"]
    widths = {line.get_label(): line.get_linewidth() for line in entropy.lines}
    assert widths["mean"] > 2 * widths["cars"]
    looks = [[axis.lines[0].get_color(), axis.lines[0].get_marker()] for axis in figure.axes]
    assert looks[0] == looks[1] != looks[2]  # cars looks alike in all panels, and dtd does not


@pytest.mark.parametrize("key", ["train/entropy", "val/acc", "val/diversity/dtd"])
def test_adaptation_has_no_panel_for_what_was_not_logged(
    key: str, figure_of: Callable[..., Figure]
) -> None:
    assert len(figure_of(plot_adaptation, {key: {1: 0.5}}, "WEMoE").axes) == 1


def test_adaptation_without_curves_is_a_mistake_of_the_program(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="No curve"):
        plot_adaptation(tmp_path / "a.png", {"train/loss": {1: 0.5}}, "WEMoE")
    assert not list(tmp_path.iterdir())


def test_confusion_is_the_share_of_each_true_class(figure_of: Callable[..., Figure]) -> None:
    counts = torch.tensor([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    axis, bar = figure_of(plot_confusion, counts, ["cat", "dog", "eel"], "Pets").axes
    [image] = axis.images
    shares = [[75, 25, 0], [0, 100, 0], [0, 0, 0]]
    assert np.asarray(image.get_array()).tolist() == shares
    assert [text.get_text() for text in axis.texts] == [str(s) for row in shares for s in row]
    assert tick_labels(axis) == (["cat", "dog", "eel"], ["cat", "dog", "eel"])
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("predicted class", "true class")
    assert bar.get_ylabel() == "share of the true class, %"


@pytest.mark.parametrize(
    ("size", "numbers", "names"), [(12, 144, True), (13, 0, True), (20, 0, True), (21, 0, False)]
)
def test_confusion_shows_numbers_and_names_where_there_is_room(
    size: int, numbers: int, names: bool, figure_of: Callable[..., Figure]
) -> None:
    classes = [f"class {i}" for i in range(size)]
    axis = figure_of(plot_confusion, torch.eye(size), classes, "Classes").axes[0]
    assert len(axis.texts) == numbers
    assert (tick_labels(axis)[0] == classes) is names


def test_names_stand_upright_if_they_are_short(figure_of: Callable[..., Figure]) -> None:
    for classes, angle in ((["0", "1"], 0), (["cat", "dog"], 90)):
        axis = figure_of(plot_confusion, torch.eye(2), classes, "Classes").axes[0]
        assert {label.get_rotation() for label in axis.get_xticklabels()} == {angle}


def test_a_long_name_of_a_class_is_cut(figure_of: Callable[..., Figure]) -> None:
    classes = ["a", "industrial buildings or commercial buildings"]
    axis = figure_of(plot_confusion, torch.eye(2), classes, "Classes").axes[0]
    assert tick_labels(axis)[1] == ["a", "industrial buildings or…"]


@pytest.mark.parametrize(("blocks", "named"), [(12, LAYERS[:48]), (24, LAYERS[::4])])
def test_layers_are_all_named_or_one_of_each_block(
    blocks: int, named: list[str], figure_of: Callable[..., Figure]
) -> None:
    values = dict.fromkeys([*LAYERS[: 4 * blocks], "all"], abs(square(2)))
    by_layer = figure_of(plot_similarity, ["a", "b"], values, values).axes[1]
    assert tick_labels(by_layer)[0] == named
