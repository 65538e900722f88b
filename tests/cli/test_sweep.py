"""Sweeps: what is run, what is run again, and the table in the end."""

import csv
import json
import os
import re
import shlex
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from wemoe_pl.cli.options import values_of
from wemoe_pl.cli.sweep import Processes, command_for, sweep
from wemoe_pl.errors import ConfigError, WeMoEError
from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.runs.lock import held
from wemoe_pl.system.configs import find_config, shipped_configs
from wemoe_pl.system.provenance import program, versions
from wemoe_pl.system.signals import Stopped


class FakeRunner:
    """Notes commands, and leaves results of which the accuracy is λ.

    Args:
        failing: names of points that fail.
        interrupted: the name of a point at which Ctrl-C is pressed.
    """

    def __init__(self, failing: Sequence[str] = (), interrupted: str = ""):
        self.failing = failing
        self.interrupted = interrupted
        self.commands: list[list[str]] = []
        self.environments: list[Mapping[str, str]] = []
        self.stopped = False

    def __call__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> int:
        self.commands.append(list(command))
        self.environments.append(environment)
        name = log.parent.name
        if name == self.interrupted:
            raise Stopped(signal.SIGINT)
        if name in self.failing:
            log.write_text("noise\nwemoe-pl: There is no key 'lamda'.\n")
            return 1
        values = [float(a.partition("=")[2]) for a in command if a.startswith("--model.merge.sc")]
        value = values[0] if values else 0.5
        results: dict[str, Any] = {
            "suite": "tiny", "method": "TaskArithmetic", "tasks": ["cars"],
            "accuracy": {"cars": value}, "mean": value,
            "versions": versions(), "run": {"program": program()},
            "information": {"cars": 1 - value}, "seconds": {"test": 1.5}, "seed": 0,
        }  # fmt: skip
        (log.parent / "results.json").write_text(json.dumps(results))
        return 0

    def stop(self) -> None:
        self.stopped = True


GRID = ("--grid", "model.merge.scaling=0.2,0.4", "--grid", "seed_everything=0,1")
JOB = ("--config", "task_arithmetic", *GRID, "--trainer.accelerator", "cpu")


def run(tmp_path: Path, *arguments: str, runner: FakeRunner | None = None) -> FakeRunner:
    runner = runner or FakeRunner()
    sweep([*arguments, "--out", str(tmp_path / "sweep")], runner)
    return runner


def test_every_point_is_a_command_in_a_folder_of_its_own(tmp_path: Path) -> None:
    commands = run(tmp_path, *JOB).commands
    assert commands == [
        ["test", "--config", "task_arithmetic", "--trainer.accelerator", "cpu",
         f"--model.merge.scaling={scaling}", f"--seed_everything={seed}",
         "--out", str(tmp_path / "sweep" / f"scaling={scaling},seed_everything={seed}")]
        for scaling in ("0.2", "0.4") for seed in ("0", "1")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--config", "adapt_miniature"), "fit"),
        (("--config", "ties"), "test"),
        (("--config", "adapt_miniature", "--config", "robust"), "fit"),
        (("--config", "adapt_miniature", "--command", "test"), "test"),
        (("--config", "ties", "--config", "wandb"), "test"),
        (("--config", "ties", "--config", "trainer/ddp"), "test"),
        (("--config", "adapt_miniature", "--model.merge", "SimpleAverage"), "test"),
        (("--config", "ties", "--model.merge=wemoe_pl.WEMoE"), "fit"),
    ],
)
def test_the_command_is_the_one_that_the_config_documents(
    arguments: tuple[str, ...], expected: str, tmp_path: Path
) -> None:
    commands = run(tmp_path, *arguments, "--grid", "seed_everything=0").commands
    assert [command[0] for command in commands] == [expected]


@pytest.mark.parametrize("config", shipped_configs())
def test_the_command_is_the_one_that_every_shipped_config_says(config: str) -> None:
    text = Path(find_config(config)).read_text()
    [line] = re.findall(r"^#   wemoe-pl ((?:fit|test) .*)$", text, re.MULTILINE)
    command, *arguments = shlex.split(line)
    assert command_for([config], []) == command
    assert command_for(values_of(arguments, "--config"), arguments) == command


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("{class_path: TestTimeAdaptation, init_args: {merge: TIES}}", "test"),
        ("{init_args: {merge: {class_path: wemoe_pl.merging.ties.TIES}}}", "test"),
        ("{class_path: TestTimeAdaptation, init_args: {merge: {class_path: WEMoE}}}", "fit"),
        ("{class_path: SampleMerging, init_args: {merge: Fisher}}", "fit"),
        ("{class_path: MultiTaskTraining}", "fit"),
        ("{class_path: mine.Model, init_args: {merge: mine.Merge}}", "fit"),
        ("[", "fit"),
    ],
)
def test_a_config_without_a_comment_is_known_by_its_model(
    model: str, expected: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text(f"model: {model}\n")
    assert command_for([str(tmp_path / "mine.yaml")], []) == expected


def test_methods_that_are_swept_have_each_its_command(tmp_path: Path) -> None:
    grid = ("--config", "adapt_miniature", "--grid", "model.merge=TIES,WEMoE")
    assert [command[0] for command in run(tmp_path, *grid).commands] == ["test", "fit"]


def test_whole_configs_can_be_swept(tmp_path: Path) -> None:
    commands = run(tmp_path, "--grid", "config=ties,fisher").commands
    assert [command[:3] for command in commands] == [
        ["test", "--config", "ties"], ["fit", "--config", "fisher"],
    ]  # fmt: skip


def test_what_is_done_is_not_run_again_and_new_points_are(tmp_path: Path) -> None:
    run(tmp_path, *JOB)
    assert run(tmp_path, *JOB).commands == []
    more = [arg.replace("0.2,0.4", "0.2,0.4,0.6") for arg in JOB]
    assert len(run(tmp_path, *more).commands) == 2


def test_results_of_another_command_are_neither_taken_nor_overwritten(tmp_path: Path) -> None:
    run(tmp_path, *JOB)
    before = sorted((tmp_path / "sweep").rglob("*"))
    with pytest.raises(
        ConfigError, match=r"scaling=0\.2,seed_everything=0 holds the results of an"
    ):
        run(tmp_path, *JOB, "--data.test_batch_size", "7")
    assert sorted((tmp_path / "sweep").rglob("*")) == before


def test_points_of_a_config_that_was_edited_are_left_to_the_command_to_compare(
    tmp_path: Path,
) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("model: {init_args: {references: false}}\n")
    job = (*JOB, "--config", str(config))
    assert len(run(tmp_path, *job).commands) == 4
    assert run(tmp_path, *job).commands == []
    config.write_text("model: {init_args: {references: true}}\n")
    refusing = FakeRunner(failing=[f"scaling=0.2,seed_everything={seed}" for seed in (0, 1)])
    with pytest.raises(WeMoEError, match="2 of 4 points failed"):
        run(tmp_path, *job, runner=refusing)
    assert len(refusing.commands) == 4
    table = (tmp_path / "sweep" / "sweep.csv").read_text()
    assert "scaling=0.4" in table
    assert "scaling=0.2" not in table  # whose results are of the config before
    assert len(run(tmp_path, *job).commands) == 2


def test_points_of_other_code_are_run_anew_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, *JOB)
    monkeypatch.setattr("wemoe_pl.runs.identity.program", lambda: program() | {"code": "other"})
    with pytest.raises(ConfigError, match=r"the code of wemoe-pl .* give --fresh to run all"):
        run(tmp_path, *JOB)
    again = run(tmp_path, *JOB, "--fresh")
    assert len(again.commands) == 4
    assert all(command[-1] == "--fresh" for command in again.commands)


def test_a_point_in_which_another_process_writes_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wemoe_pl.cli.sweep.ORPHAN", 0.0)
    taken = RunFolder(tmp_path / "sweep" / "scaling=0.2,seed_everything=0")
    with (
        held(taken.lock, taken.path),
        pytest.raises(WeMoEError, match=r"1 of 4 points failed.* is in use: process \d+ on"),
    ):
        run(tmp_path, *JOB)


def test_an_interrupted_sweep_goes_on_where_it_was(tmp_path: Path) -> None:
    job = ("--config", "adapt_miniature", "--grid", "seed_everything=0,1,2")
    runner = FakeRunner(interrupted="seed_everything=1")
    with pytest.raises(Stopped):
        run(tmp_path, *job, runner=runner)
    assert runner.stopped
    again = run(tmp_path, *job).commands
    assert again[0] == runner.commands[1]  # which goes on by itself
    assert run(tmp_path, *job).commands == []


def test_a_failure_does_not_stop_the_others_and_is_told_in_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = FakeRunner(failing=["scaling=0.2,seed_everything=1"])
    with pytest.raises(WeMoEError, match=r"1 of 4 points failed\. scaling=0\.2,seed_everything=1: "
                                         r"There is no key 'lamda'\."):  # fmt: skip
        run(tmp_path, *JOB, runner=failing)
    assert len(failing.commands) == 4
    assert "Sweep on tiny" in capsys.readouterr().out
    assert len(run(tmp_path, *JOB).commands) == 1


@pytest.mark.usefixtures("drawn_figures")
def test_the_table_is_left_as_csv_and_plot(tmp_path: Path) -> None:
    run(tmp_path, *JOB)
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
    run(tmp_path, *JOB, "--choose")  # of which the more accurate points have less information
    chosen = json.loads((tmp_path / "sweep" / "chosen.json").read_text())
    assert chosen["model.merge.scaling"] == "0.2"
    assert chosen["information"] == pytest.approx(0.8)
    assert capsys.readouterr().out.count("chosen") == 1


def test_jobs_share_the_cores_and_gpus_have_one_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    alone = run(tmp_path / "a", *JOB).environments
    assert not any("OMP_NUM_THREADS" in each for each in alone)
    shared = run(tmp_path / "b", *JOB, "--jobs", "2").environments
    cores = str(max(1, (os.cpu_count() or 1) // 2))
    assert {each["OMP_NUM_THREADS"] for each in shared} == {cores}
    gpus = run(tmp_path / "c", *JOB, "--gpus", "1,3").environments
    assert {each["CUDA_VISIBLE_DEVICES"] for each in gpus} <= {"1", "3"}


def test_a_dry_run_prints_commands_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, *JOB, "--dry-run").commands == []
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("wemoe-pl test --config task_arithmetic --trainer.accelerator cpu")
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "There is nothing to sweep: give --grid KEY=A,B,C"),
        (("--grid", "a"), r"--grid a: write KEY=A,B,C"),
        (("--grid", "a=1", "--jobs", "0"), "--jobs is 0: give a number from 1"),
        (("--grid", "a=1", "--jobs", "two"), r"--jobs: invalid int value: 'two'.*--help"),
        (("--grid", "a=1", "--gpus", "0;1"), "--gpus is '0;1': give numbers such as 0,1"),
        (("--grid", "a=1", "--a", "2"), "a is in the grid and given as --a too"),
        (("--grid", "a=1", "--a=2"), "a is in the grid and given as --a too"),
        (("--grid", "config=tis"), r"no config 'tis'.*Did you mean 'ties'"),
    ],
)
def test_mistakes_end_in_one_sentence_before_anything_runs(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(tmp_path, *arguments)
    assert not (tmp_path / "sweep").exists()


def test_help_fits_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        sweep(["--help"])
    assert leaving.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) < 40


def test_real_processes_run_once(tiny_suite_yaml: Path, tmp_path: Path) -> None:
    arguments = [
        "--config", "task_arithmetic", "--suite", str(tiny_suite_yaml),
        "--grid", "model.merge.scaling=0.0,0.4", "--trainer.accelerator", "cpu",
        "--data.num_workers", "0", "--jobs", "2", "--out", str(tmp_path),
    ]  # fmt: skip
    sweep(arguments)
    with (tmp_path / "sweep.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    for line in lines:
        results = json.loads((Path(line["folder"]) / "results.json").read_text())
        assert results["merge"]["init_args"]["scaling"] == float(line["model.merge.scaling"])
        assert float(line["mean"]) == results["mean"]
    assert lines[0]["information"] != lines[1]["information"]
    runner = FakeRunner()
    sweep(arguments, runner)
    assert runner.commands == []


def test_processes_that_still_run_are_stopped(tmp_path: Path) -> None:
    processes = Processes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wemoe_pl.cli.sweep.sys.executable", "sleep")
        patch.setattr("wemoe_pl.cli.sweep.LAUNCH", ("60",))
        thread = Thread(target=processes, args=((), tmp_path / "log.txt", dict(os.environ)))
        thread.start()
        while not processes.running:
            pass
        processes.stop()
        thread.join(10)
    assert not thread.is_alive()
