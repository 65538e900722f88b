"""What a sweep leaves: a table, a plot, and the choice that is made without labels."""

import csv
import json
from pathlib import Path

import pytest
from helpers.sweeps import JOB, run_sweep


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
