"""The workers of a sweep: what is run at once, again, or not, and what becomes of failures."""

import json
import os
from pathlib import Path
from threading import Thread

import pytest
from helpers.process_groups import ended_process
from helpers.sweeps import JOB, FakeRunner, run_sweep

from wemoe_pl.cli.sweep.workers import Processes
from wemoe_pl.errors import WeMoEError
from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.runs.lock import held
from wemoe_pl.system.signals import Stopped


def test_what_is_done_is_not_run_again_and_new_points_are(tmp_path: Path) -> None:
    run_sweep(tmp_path, *JOB)
    assert run_sweep(tmp_path, *JOB).commands == []
    more = [arg.replace("0.2,0.4", "0.2,0.4,0.6") for arg in JOB]
    assert len(run_sweep(tmp_path, *more).commands) == 2


def test_a_point_in_which_another_process_writes_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wemoe_pl.cli.sweep.workers.ORPHAN", 0.0)
    taken = RunFolder(tmp_path / "sweep" / "scaling=0.2,seed_everything=0")
    with (
        held(taken.lock, taken.path),
        pytest.raises(WeMoEError, match=r"1 of 4 points failed.* is in use: process \d+ on"),
    ):
        run_sweep(tmp_path, *JOB)


def test_an_interrupted_sweep_goes_on_where_it_was(tmp_path: Path) -> None:
    job = ("--config", "adapt_miniature", "--grid", "seed_everything=0,1,2")
    runner = FakeRunner(interrupted="seed_everything=1")
    with pytest.raises(Stopped) as stopped:
        run_sweep(tmp_path, *job, runner=runner)
    assert stopped.value.__notes__ == [
        "1 of 3 points are done, and seed_everything=1 stopped midway: the same command goes on "
        "with what is left."
    ]
    assert runner.stopped
    again = run_sweep(tmp_path, *job).commands
    assert again[0] == runner.commands[1]  # which goes on by itself
    assert run_sweep(tmp_path, *job).commands == []


def test_what_a_killed_sweep_was_writing_is_removed(tmp_path: Path) -> None:
    first, *_ = run_sweep(tmp_path, *JOB).commands
    point = tmp_path / "sweep" / "scaling=0.2,seed_everything=0"
    gone = ended_process()
    record = point / "command.json"
    record.rename(point / f".command.{gone}.part.json")
    record.write_text(json.dumps({"command": first, "files": None}))
    there = {path.name for path in (tmp_path / "sweep").iterdir()}
    (tmp_path / "sweep" / f".sweep.{gone}.part.csv").touch()
    assert len(run_sweep(tmp_path, *JOB).commands) == 1
    assert not list(point.glob(".command*"))
    assert {path.name for path in (tmp_path / "sweep").iterdir()} == there


def test_a_failure_does_not_stop_the_others_and_is_told_in_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = FakeRunner(failing=["scaling=0.2,seed_everything=1"])
    with pytest.raises(WeMoEError, match=r"1 of 4 points failed\. scaling=0\.2,seed_everything=1: "
                                         r"There is no key 'lamda'\."):  # fmt: skip
        run_sweep(tmp_path, *JOB, runner=failing)
    assert len(failing.commands) == 4
    assert "Sweep on tiny" in capsys.readouterr().out
    assert len(run_sweep(tmp_path, *JOB).commands) == 1


def test_jobs_share_the_cores_and_gpus_have_one_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    alone = run_sweep(tmp_path / "a", *JOB).environments
    assert not any("OMP_NUM_THREADS" in each for each in alone)
    shared = run_sweep(tmp_path / "b", *JOB, "--jobs", "2").environments
    cores = str(max(1, (os.cpu_count() or 1) // 2))
    assert {each["OMP_NUM_THREADS"] for each in shared} == {cores}
    gpus = run_sweep(tmp_path / "c", *JOB, "--gpus", "1,3").environments
    assert {each["CUDA_VISIBLE_DEVICES"] for each in gpus} <= {"1", "3"}


def test_processes_that_still_run_end_with_their_standard_input(tmp_path: Path) -> None:
    processes = Processes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wemoe_pl.cli.sweep.workers.sys.executable", "cat")
        patch.setattr("wemoe_pl.cli.sweep.workers.LAUNCH", ("-",))
        thread = Thread(target=processes, args=((), tmp_path / "log.txt", dict(os.environ)))
        thread.start()
        while not processes.running:
            pass
        processes.stop()
        thread.join(10)
    assert not thread.is_alive()
