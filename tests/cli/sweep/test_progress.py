"""What a sweep says while it runs: which point, how many are done, and how long it takes."""

from pathlib import Path

import pytest
from helpers.sweeps import JOB, FakeRunner, run_sweep

from wemoe_pl.cli.sweep import progress
from wemoe_pl.cli.sweep.points import Point
from wemoe_pl.cli.sweep.progress import SweepProgress
from wemoe_pl.errors import WeMoEError

Capture = pytest.CaptureFixture[str]


def test_every_point_is_said_to_run_and_what_it_came_to(tmp_path: Path, capsys: Capture) -> None:
    run_sweep(tmp_path, *JOB)
    lines = capsys.readouterr().out.splitlines()
    out = tmp_path / "sweep"
    assert lines[0] == f"0 of 4 points are done. The output of each goes to {out}/POINT/log.txt."
    assert lines[1] == "scaling=0.2,seed_everything=0 runs."
    outcome = "scaling=0.2,seed_everything=1: mean accuracy 20.0 % after 0 s."
    assert any(line.startswith(f"{outcome} 2 of 4 points are done, the ") for line in lines)
    began = [i for i, line in enumerate(lines) if line.endswith(" runs.")]
    assert began == [1, 3, 5, 7]  # each behind the outcome of the one before
    run_sweep(tmp_path, *JOB)
    assert capsys.readouterr().out.splitlines()[0] == "4 of 4 points are done."


def test_a_point_that_failed_is_not_done(tmp_path: Path, capsys: Capture) -> None:
    with pytest.raises(WeMoEError):
        run_sweep(tmp_path, *JOB, runner=FakeRunner(failing=["scaling=0.4,seed_everything=1"]))
    [line] = [line for line in capsys.readouterr().out.splitlines() if "failed after" in line]
    name, _, ending = line.partition(": ")
    assert name == "scaling=0.4,seed_everything=1"
    assert ending == "failed after 0 s: There is no key 'lamda'. 3 of 4 points are done."


def test_the_time_that_is_left_follows_from_the_points_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    now = iter([0.0, 0.0, 100.0, 110.0, 150.0])
    monkeypatch.setattr(progress, "monotonic", lambda: next(now))
    points = [Point({}, tmp_path / name, ()) for name in "abc"]
    said = SweepProgress(points=7, left=6, jobs=2, out=tmp_path)
    said.begin(points[0])
    said.begin(points[1])
    said.end(points[0], has_failed=True)  # after 100 s: five are left, in three rounds of two
    said.begin(points[2])
    said.end(points[1], has_failed=True)  # after 150 s: four in two rounds, of 125 s in the mean
    lines = capsys.readouterr().out.splitlines()
    first, second = [line for line in lines if "failed after" in line]
    assert "failed after 1 min 40 s" in first
    assert first.endswith("1 of 7 points are done, the others take about 5 min 0 s.")
    assert "failed after 2 min 30 s" in second
    assert second.endswith("1 of 7 points are done, the others take about 4 min 10 s.")
