"""The tables of runs of which no image has a label."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch

from wemoe_pl.cli.sweep.points import Point
from wemoe_pl.cli.sweep.summary import draw
from wemoe_pl.reporting.comparison import TableOptions
from wemoe_pl.reporting.html import label_free_facts
from wemoe_pl.reporting.report import report, report_page
from wemoe_pl.reporting.scored_runs import read_experiments
from wemoe_pl.reporting.summary import run_tables, summary_page
from wemoe_pl.reporting.without_labels import adaptation_ends, compared_metric, with_certificate
from wemoe_pl.runs.results_schema import read_results_file
from wemoe_pl.system.console import Console
from wemoe_pl.training.shown_metrics import AGREEMENT, CERTIFICATE

CURVES = {
    "val/information": {0: 0.2, 5: 0.5, 10: 0.4},
    "val/information/dogs": {0: 0.2, 5: 0.5, 10: 0.4},
    "val/entropy/dogs": {0: 1.25, 5: 0.5, 10: 0.25},
    "val/agreement/dogs": {0: 0.5, 5: 0.75, 10: 1.0},
    "train/entropy/dogs": {10: 7.0},
}
RESULTS: dict[str, Any] = {
    "suite": "pets", "method": "WEMoE", "tasks": ["dogs", "cats"], "accuracy": {}, "mean": None,
    "normalized_mean": None, "seed": 0, "sources": {}, "versions": {}, "seconds": {},
    "parameters": {"total": 2, "trainable": 1},
    "reference": {"pretrained": {}, "task_arithmetic": {}, "individual": {}},
    "entropy": {"dogs": 0.256, "cats": 0.5}, "information": {"dogs": 0.5, "cats": 0.75},
    "diversity": {"dogs": 1.0, "cats": 0.9}, "agreement": {"dogs": 0.9, "cats": 0.8},
    "reference_agreement": {
        "pretrained": {"dogs": 0.5, "cats": 0.6}, "task_arithmetic": {"dogs": 0.7, "cats": 0.6},
        "individual": {"dogs": 1.0, "cats": 1.0},
    },
    "unknown_task": {"entropy": {"accuracy": {}, "mean": None, "task_accuracy": {}}},
}  # fmt: skip


def printed(results: dict[str, Any]) -> str:
    page = StringIO()
    Console(file=page, width=120).print(*run_tables(results), sep="\n")
    return page.getvalue()


def test_before_and_after_are_of_the_first_and_the_last_validation() -> None:
    ends = adaptation_ends(CURVES, restored_step=None)
    assert ends["before"] == {
        "step": 0,
        "scores": {
            "entropy": {"dogs": 1.25},
            "agreement": {"dogs": 0.5},
            "information": {"dogs": 0.2},
        },
    }
    assert (ends["after"]["step"], ends["after"]["scores"]["entropy"]) == (10, {"dogs": 0.25})


def test_after_is_the_step_that_the_guard_went_back_to() -> None:
    after = adaptation_ends(CURVES, restored_step=5)["after"]
    assert (after["step"], after["scores"]["agreement"]) == (5, {"dogs": 0.75})


@pytest.mark.parametrize("curves", [{}, {"val/information": {5: 0.5, 10: 0.4}}])
def test_without_a_validation_before_the_first_step_nothing_is_compared(curves: Any) -> None:
    assert adaptation_ends(curves, restored_step=None) == {}


def test_the_agreement_with_the_experts_stands_in_for_the_accuracy() -> None:
    text = printed(RESULTS)
    assert "Agreement with the experts on pets, %" in text
    assert "individual" not in text  # which agree with themselves
    for line in ("dogs │       50.0 │            70.0 │  90.0", "dogs │          0.26 │"):
        assert line in text
    assert "Accuracy" not in text


def test_arrows_lead_from_before_to_after() -> None:
    ends = adaptation_ends(CURVES, restored_step=None)
    text = printed(RESULTS | {"adaptation": ends, "curves": "Of 3 images."})
    assert "1.25 → 0.25" in text
    assert "50.0 → 100.0" in text
    assert "Arrows lead from step 0 to step 10." in text
    assert "Of 3 images." in text
    page = summary_page(RESULTS | {"adaptation": ends}, [])
    assert "| dogs | 1.25 → 0.25 | 50.0 → 100.0 | 50.0 → 0.0 | 20.0 → 40.0 |" in page
    assert "## Agreement with the experts, %" in page
    facts = label_free_facts(RESULTS | {"adaptation": ends})
    assert facts["entropy, nats"] == "1.25 → 0.25"
    assert label_free_facts(RESULTS)["information, %"] == "62.5"


def test_an_agreement_is_shown_with_what_it_certifies() -> None:
    page = summary_page(RESULTS, [])
    assert "agreement with the experts, % | gap to the expert's accuracy, at most, % | info" in page
    assert "| dogs | 0.26 | 90.0 | 10.0 | 50.0 | 100.0 |" in page
    assert "| mean | 0.38 | 85.0 | 15.0 | 62.5 | 95.0 |" in page
    sentence = "the accuracy of a task differs from its expert's by at most 1 − agreement"
    assert sentence in page
    assert sentence in " ".join(printed(RESULTS).split())
    alone = {k: v for k, v in RESULTS.items() if "agreement" not in k}
    assert "1 − agreement" not in summary_page(alone, []) + printed(alone)


def test_no_labels_make_the_accuracies_differ_by_more() -> None:
    generator = torch.Generator().manual_seed(0)
    gaps = []
    for images in (1, 7, 30):
        for _ in range(50):
            ours, experts, labels = torch.randint(3, (3, images), generator=generator).tolist()
            agreement = sum(a == b for a, b in zip(ours, experts, strict=True)) / images
            accuracies = [
                sum(a == b for a, b in zip(answers, labels, strict=True)) / images
                for answers in (ours, experts)
            ]
            certified = with_certificate({AGREEMENT: {"dogs": agreement}})[CERTIFICATE]["dogs"]
            gaps.append(certified - abs(accuracies[0] - accuracies[1]))
    assert min(gaps) == pytest.approx(0, abs=1e-12)


def test_without_experts_there_is_what_the_answers_alone_tell() -> None:
    alone = {k: v for k, v in RESULTS.items() if "agreement" not in k}
    assert compared_metric([alone]).name == "information"
    text = printed(alone)
    assert "Without labels, on pets" in text
    assert text.count("dogs") == 1


def test_tasks_without_labels_have_a_table_beside_those_with_some() -> None:
    text = printed(RESULTS | {"accuracy": {"cats": 0.5}, "tasks": ["cats"], "mean": 0.5})
    assert "Accuracy on pets, %" in text
    assert "Without labels, on pets" in text


def test_a_report_compares_runs_by_what_needs_no_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    better = RESULTS | {
        "seed": 1,
        "agreement": {"dogs": 1.0, "cats": 0.9},
        "entropy": {"dogs": 0.1},
    }
    for name, results in (("a", RESULTS), ("b", better)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(json.dumps(results))
        assert read_results_file(tmp_path / name / "results.json") == results
    report([str(tmp_path)], options=TableOptions(references=True))
    text = capsys.readouterr().out
    assert "Agreement with the experts, %." in text
    assert "differs from its expert's by at most 1 − agreement" in text
    assert "mean | entropy, nats | information, % | classes predicted, % |\n" in text
    assert "| task arithmetic | 70.0 | 60.0 | 65.0 | – | – | – |" in text
    assert "| WEMoE (seed 1) | **100.0** | **90.0** | **95.0** | **0.10** | **62.5** |" in text


def test_a_sweep_without_labels_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr("wemoe_pl.cli.sweep.summary.plot_sweep", lambda *given: drawn.extend(given))
    points = [Point({"model.rate": value}, tmp_path / value, ()) for value in ("1", "2")]
    draw([(point, RESULTS) for point in points], ["model.rate"], tmp_path)
    assert drawn[2:] == [
        {"": {1.0: [pytest.approx(0.85)], 2.0: [pytest.approx(0.85)]}},
        "pets", "agreement with the experts, %", "",
    ]  # fmt: skip


# Of two tasks one has labels; the expert of the other is asked instead.
PARTLY: dict[str, Any] = {
    **RESULTS, "tasks": ["dogs"], "accuracy": {"dogs": 0.85}, "mean": 0.85, "normalized_mean": 0.9,
    "reference": {"pretrained": {"dogs": 0.6}, "individual": {"dogs": 0.95}},
}  # fmt: skip


def test_a_task_without_labels_has_a_row_beside_those_with_labels() -> None:
    accuracy, label_free = run_tables(PARTLY)
    assert list(accuracy.columns[0].cells) == ["dogs", "cats", "mean", "normalized mean"]
    assert [list(column.cells)[1] for column in accuracy.columns[1:]] == ["–", "–", "–"]
    assert list(label_free.columns[0].cells) == ["dogs", "cats", "mean"]
    note = "The mean accuracies leave out cats, whose images have no labels."
    assert note in str(accuracy.caption)
    page = summary_page(PARTLY, [])
    assert f"> {note}" in page
    assert "| cats | – | – | – |" in page


def test_a_report_has_a_second_table_where_a_task_has_no_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results.json").write_text(json.dumps(PARTLY))
    report([str(tmp_path)], options=TableOptions(references=True))
    document = capsys.readouterr().out
    accuracy, agreement = document.split("### ")[1:]
    assert accuracy.startswith("pets, 2 tasks\n\nAccuracy, %.")
    assert "| WEMoE | **85.0** | – | **85.0** | **90.0** |" in accuracy
    assert "leave out cats, whose images have no labels." in accuracy
    assert agreement.startswith("pets, 2 tasks\n\nAgreement with the experts, %.")
    assert "| WEMoE | **90.0** | **80.0** | **85.0** | 0.38 | 62.5 | 95.0 |" in agreement
    assert "| pretrained | 50.0 | 60.0 | 55.0 | – | – | – |" in agreement
    page = tmp_path / "page.html"
    report_page([str(tmp_path)], page)
    shown = page.read_text()
    assert shown.count('<table class="accuracy">') == 2
    assert shown.index("Accuracy, %") < shown.index("Agreement with the experts, %")
    assert "<dt>tasks without labels</dt><dd>cats</dd>" in shown
    assert "<dt>agreement with the experts, %</dt><dd>85.0</dd>" in shown


def test_runs_with_and_without_the_labels_of_a_task_are_in_tables_of_their_own(
    tmp_path: Path,
) -> None:
    for name, results in {"none": RESULTS, "some": PARTLY}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(json.dumps(results))
    assert [len(runs) for runs in read_experiments([str(tmp_path)])] == [1, 1]
