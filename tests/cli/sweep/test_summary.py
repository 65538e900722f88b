"""What a sweep leaves: a table, a plot, and the choice that is made without labels."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from helpers.sweeps import JOB, run_sweep
from helpers.written_runs import bare_results, results_record

from wemoe_pl.cli.sweep.points import Point
from wemoe_pl.cli.sweep.summary import summarise
from wemoe_pl.runs.folder import CONFIG_HEADER, RunFolder
from wemoe_pl.training.shown_metrics import LabelFreeScore


@pytest.mark.usefixtures("drawn_figures")
def test_the_table_is_left_as_csv_and_plot(tmp_path: Path) -> None:
    run_sweep(tmp_path, *JOB)
    with (tmp_path / "sweep" / "sweep.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["model.merge.scaling"] for line in lines] == ["0.2", "0.2", "0.4", "0.4"]
    assert [float(line["accuracy/cars"]) for line in lines] == [0.2, 0.2, 0.4, 0.4]
    assert [float(line["information"]) for line in lines] == [0.8, 0.8, 0.6, 0.6]
    for name in ("sweep.png", "sweep.svg"):
        assert (tmp_path / "sweep" / name).stat().st_size > 5000


def test_the_choice_is_made_without_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_sweep(tmp_path, *JOB, "--choose")  # of which the more accurate points have less information
    chosen = json.loads((tmp_path / "sweep" / "chosen.json").read_text())
    assert chosen["model.merge.scaling"] == "0.2"
    assert chosen["information"] == pytest.approx(0.8)
    assert "seed_everything" not in chosen
    assert capsys.readouterr().out.count("Chosen") == 1


SCORES = {"dogs": 0.9, "cats": 0.8}
LABEL_FREE: dict[str, Any] = {
    "information": {"dogs": 0.5, "cats": 0.75}, "agreement": SCORES, "entropy": SCORES,
    "diversity": {"dogs": 1.0, "cats": 0.9},
}  # fmt: skip


def cells_of(
    results: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    out: Path,
    score: LabelFreeScore = "information",
) -> list[str]:
    """The cells of the one row of a sweep's table, and below them what is printed after it."""
    RunFolder(out / "a").path.mkdir(parents=True)
    (out / "a/results.json").write_text(json.dumps(results))
    (out / "a/config.yaml").write_text(CONFIG_HEADER)
    summarise([Point({"model.merge.scaling": "0.3"}, out / "a", ())], ["model.merge.scaling"], out,
              score)  # fmt: skip
    text = capsys.readouterr().out
    [row] = [line for line in text.splitlines() if line.startswith("│")]
    return [cell.strip() for cell in row.split("│")[1:-1]] + [text]


def test_without_labels_points_are_compared_by_what_needs_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = bare_results(**LABEL_FREE, run=results_record()) | {"tasks": list(SCORES)}
    *cells, text = cells_of(results, capsys, tmp_path)
    assert "Sweep on tiny, agreement with the experts in %" in text
    assert cells == ["0.3", "90.0", "80.0", "85.0", "0.85", "95.0", "62.5 ←"]
    assert "Information is what the predictions tell about the images" in text
    assert "Chosen by the largest information, for which no label is needed: scaling 0.3" in text
    with (tmp_path / "sweep.csv").open(newline="") as file:
        [line] = csv.DictReader(file)
    assert float(line["agreement/cats"]) == 0.8
    assert float(line["agreement"]) == pytest.approx(0.85)
    assert float(line["information"]) == pytest.approx(0.625)


def test_a_task_without_labels_has_a_column_among_those_that_have_some(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = bare_results({"dogs": 0.7}, **LABEL_FREE, run=results_record())
    *cells, text = cells_of(results, capsys, tmp_path)
    assert cells == ["0.3", "70.0", "–", "70.0", "0.85", "85.0", "95.0", "62.5 ←"]
    assert "The mean accuracies leave out cats, whose images have no labels." in text


def test_nothing_is_chosen_where_nothing_can_be_chosen_by(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    *_, text = cells_of(bare_results({"dogs": 0.7}, run=results_record()), capsys, tmp_path)
    assert (
        "Nothing was chosen: no point has the score information, by which settings are chosen."
        in text
    )
    assert not (tmp_path / "chosen.json").exists()


def test_what_settings_are_chosen_by_stands_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = bare_results({"dogs": 0.7, "cats": 0.6}, **LABEL_FREE, run=results_record())
    *cells, text = cells_of(results, capsys, tmp_path, "agreement")
    assert cells == ["0.3", "70.0", "60.0", "65.0", "85.0 ←"]
    assert "Agreement is the share of images" in text
    assert "Chosen by the largest agreement, for which no label is needed: scaling 0.3" in text
    chosen = json.loads((tmp_path / "chosen.json").read_text())
    assert (chosen["selected_by"], chosen["agreement"]) == ("agreement", pytest.approx(0.85))
    assert chosen["information"] == pytest.approx(0.625)


def test_without_experts_it_is_said_how_to_have_an_agreement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = bare_results({"dogs": 0.7}, information={"dogs": 0.5}, run=results_record())
    *_, text = cells_of(results, capsys, tmp_path, "agreement")
    said = " ".join(text.split())
    assert "Nothing was chosen: no point has the score agreement" in said
    assert "set model.references to true and give --fresh" in said
    assert "give --select information." in said
    assert not (tmp_path / "chosen.json").exists()
