"""Which figures a run leaves, and what they show."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from helpers.figures import legend_of, lines_of, tick_labels
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.suite import Suite
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.reporting.plots import run
from wemoe_pl.reporting.plots.run import (
    plot_accuracy,
    plot_adaptation,
    plot_confusion,
    write_figures,
)
from wemoe_pl.reporting.results import collect_results
from wemoe_pl.training.adapt import TestTimeAdaptation

CURVES = {"train/entropy": {1: 1.0, 2: 0.5}, "val/acc": {2: 0.5}}
ALL_CURVES = {
    "train/entropy": {10: 0.6, 20: 0.3},
    "train/entropy/cars": {10: 0.8, 20: 0.5},
    "train/entropy/mnist": {20: 0.1, 10: 0.4},
    "train/learning_rate": {10: 0.001},
    "val/acc/cars": {0: 0.5, 20: 0.75},
    "val/diversity/dtd": {20: 0.9},
}
ACCURACY = {
    "pretrained": {"cars": 0.5, "mnist": 0.25},
    "WEMoE": {"cars": 0.75, "mnist": 1.0},
    "individual": {"mnist": 1.0},
}


@pytest.fixture
def scored(
    tiny_suite: Suite, quiet_trainer: Callable[..., L.Trainer]
) -> Callable[[MergeMethod], tuple[TestTimeAdaptation, dict[str, Any]]]:
    def score(merge: MergeMethod) -> tuple[TestTimeAdaptation, dict[str, Any]]:
        module = TestTimeAdaptation(tiny_suite, merge, references=False)
        quiet_trainer().test(module, MultiTaskData(tiny_suite), verbose=False)
        return module, collect_results(module, seed=0)

    return score


@pytest.mark.parametrize(
    ("merge", "curves", "stems"),
    [
        (TaskArithmetic(), {}, ["accuracy", "confusion"]),
        (WEMoE(), {}, ["accuracy", "routing", "routing_share", "confusion"]),
        (WEMoE(), CURVES, ["accuracy", "adaptation", "routing", "routing_share", "confusion"]),
    ],
)
def test_there_is_a_figure_of_all_that_a_run_has(
    merge: MergeMethod, curves: Any, stems: list[str], scored: Any, tmp_path: Path
) -> None:
    module, results = scored(merge)
    written = write_figures(tmp_path, module, results, curves)
    assert written == [tmp_path / f"{stem}.png" for stem in stems]
    for path in written:
        assert path.is_file()
        assert path.with_suffix(".svg").is_file()


def test_the_confusion_is_that_of_the_task_of_least_accuracy(
    scored: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(run, "plot_confusion", lambda *given: drawn.extend(given))
    module, results = scored(TaskArithmetic())
    worst = min(results["accuracy"], key=results["accuracy"].get)
    write_figures(tmp_path, module, results, {})
    _, counts, classes, title = drawn
    assert f"images of {worst}, the task of lowest accuracy" in title
    assert tuple(classes) == tuple(module.classifier.head(worst).classes)
    assert torch.diagonal(counts).sum() / counts.sum() == results["accuracy"][worst]


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


def test_a_run_that_is_a_reference_elsewhere_is_drawn_as_a_run(
    figure_of: Callable[..., Figure],
) -> None:
    def colour(**given: Any) -> Any:
        [axis] = figure_of(partial(plot_accuracy, **given), ACCURACY, "tiny").axes
        return next(b for b in axis.containers if b.get_label() == "pretrained")[0].get_facecolor()

    assert colour(own="pretrained") != colour(own="WEMoE") == colour()


def test_adaptation_has_a_panel_for_each_kind_and_one_legend(
    figure_of: Callable[..., Figure],
) -> None:
    figure = figure_of(plot_adaptation, ALL_CURVES, "WEMoE on tiny")
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


def test_the_stage_that_begins_first_is_drawn_on_axes_that_show_no_noise(
    figure_of: Callable[..., Figure],
) -> None:
    curves = {
        "train/entropy": {10: 0.6, 20: 0.3}, "val/entropy": {0: 0.9, 20: 0.2},
        "val/acc": {0: 0.961, 20: 0.969}, "val/diversity": {0: 0.8, 20: 0.12},
    }  # fmt: skip
    entropy, accuracy, diversity = figure_of(plot_adaptation, curves, "WEMoE").axes
    assert lines_of(entropy)["mean"] == [(0, 0.9), (20, 0.2)]
    assert entropy.get_ylim()[0] == 0
    assert accuracy.get_title(loc="right") == "mean 96.1 → 96.9"
    low, high = accuracy.get_ylim()
    assert low < 80 < 100 < high < 102
    low, high = diversity.get_ylim()
    assert low < 10
    assert high > 80


@pytest.mark.parametrize("key", ["train/entropy", "val/acc", "val/diversity/dtd"])
def test_adaptation_has_no_panel_for_what_was_not_logged(
    key: str, figure_of: Callable[..., Figure]
) -> None:
    assert len(figure_of(plot_adaptation, {key: {1: 0.5}}, "WEMoE").axes) == 1


def test_adaptation_without_curves_is_a_mistake_of_the_program(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="No curve"):
        plot_adaptation(tmp_path / "a.png", {"train/loss": {1: 0.5}}, "WEMoE")
    assert not list(tmp_path.iterdir())


def test_confusion_counts_images_and_colours_the_share_of_mistakes(
    figure_of: Callable[..., Figure],
) -> None:
    counts = torch.tensor([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    axis, bar = figure_of(plot_confusion, counts, ["cat", "dog", "eel"], "Pets").axes
    [image] = axis.images
    shares: np.ma.MaskedArray = np.ma.asarray(image.get_array())
    assert shares.tolist() == [[None, 25, 0], [0, None, 0], [0, 0, None]]
    assert image.get_clim() == (0, 30)
    assert [text.get_text() for text in axis.texts] == ["3", "1", "4"]  # and no zeros
    assert tick_labels(axis) == (["cat", "dog", "eel"], ["cat", "dog", "eel"])
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("predicted class", "true class")
    assert bar.get_ylabel() == "mistakes, % of the images of a true class"


def test_confusion_without_a_mistake_or_of_a_single_class_is_drawn(
    figure_of: Callable[..., Figure],
) -> None:
    for size in (1, 3):
        axis = figure_of(plot_confusion, 40 * torch.eye(size), ["a", "b", "c"][:size], "x").axes[0]
        assert [text.get_text() for text in axis.texts] == ["40"] * size


@pytest.mark.parametrize(
    ("size", "numbers", "names"), [(12, 144, True), (13, 0, True), (20, 0, True), (21, 0, False)]
)
def test_confusion_shows_numbers_and_names_where_there_is_room(
    size: int, numbers: int, names: bool, figure_of: Callable[..., Figure]
) -> None:
    classes = [f"class {i}" for i in range(size)]
    axis = figure_of(plot_confusion, torch.ones(size, size), classes, "Classes").axes[0]
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
