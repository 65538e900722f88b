"""Which pictures a run leaves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.suite import Suite
from wemoe_pl.merging import MergeMethod, TaskArithmetic, WEMoE
from wemoe_pl.reporting.plots import run
from wemoe_pl.reporting.plots.run import write_pictures
from wemoe_pl.reporting.results import collect_results
from wemoe_pl.training.adapt import TestTimeAdaptation

pytestmark = pytest.mark.usefixtures("drawn_figures")
CURVES = {"train/entropy": {1: 1.0, 2: 0.5}, "val/acc": {2: 0.5}}


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
def test_there_is_a_picture_of_all_that_a_run_has(
    merge: MergeMethod, curves: Any, stems: list[str], scored: Any, tmp_path: Path
) -> None:
    module, results = scored(merge)
    written = write_pictures(tmp_path, module, results, curves)
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
    write_pictures(tmp_path, module, results, {})
    _, counts, classes, title = drawn
    assert f"confusion on {worst}" in title
    assert tuple(classes) == tuple(module.classifier.head(worst).classes)
    assert torch.diagonal(counts).sum() / counts.sum() == results["accuracy"][worst]
