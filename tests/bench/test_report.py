"""`wemoe-pl bench` through the command line."""

import json
from pathlib import Path

import pytest

from wemoe_pl.bench.report import costs_by, draw_curves, middle
from wemoe_pl.bench.subjects import BenchRow
from wemoe_pl.cli.main import main

SMALL = ("--shapes", "miniature", "--samples", "2", "--experts", "2", "--blocks", "1")


@pytest.mark.slow
def test_it_prints_a_table_and_leaves_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bench"
    assert main(["bench", "layer", *SMALL, "--repeats", "1", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "loop over samples" in printed
    assert "times and sizes, not accuracy" in printed
    written = json.loads((out / "bench.json").read_text())
    assert [row["run"] for row in written["layer"]][:2] == ["plain", "WEMoE"]
    assert written["about"]["command"].startswith("wemoe-pl bench layer --shapes miniature")
    assert written["about"]["versions"]["torch"]
    assert written["about"]["seed"] == 0


def costs(samples: tuple[int, ...], experts: tuple[int, ...]) -> list[BenchRow]:
    return [
        {"shape": "vitb32", "samples": b, "experts": t, "depth": 2, "run": "plain"}
        | {"forward": float(b + t), "both": 9.0}
        for b in samples
        for t in experts
    ]


def test_curves_are_drawn_over_what_takes_several_values(tmp_path: Path) -> None:
    draw_curves(tmp_path, costs((16,), (8,)))
    assert not list(tmp_path.iterdir())
    draw_curves(tmp_path, costs((1, 16), (8,)))
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["layer_vitb32.png", "layer_vitb32.svg"]


def test_a_curve_is_of_rows_that_differ_in_its_axis_alone() -> None:
    rows = costs((1, 4, 16), (2, 8))
    usual = {"samples": 4, "experts": 2, "depth": 2}
    assert {key: middle(row[key] for row in rows) for key in usual} == usual
    assert costs_by("samples", rows, usual)["plain, forward"] == {1: 3, 4: 6, 16: 18}
    assert costs_by("experts", rows, usual)["plain, forward"] == {2: 6, 8: 12}
