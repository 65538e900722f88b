"""Sweeps as they are asked for: what is refused, what is only printed, what is really run."""

import csv
import json
from pathlib import Path

import pytest
from helpers.sweeps import JOB, FakeRunner, run_sweep

from wemoe_pl.cli.sweep.command import sweep
from wemoe_pl.errors import ConfigError, WeMoEError
from wemoe_pl.system.provenance import program


def test_results_of_another_command_are_neither_taken_nor_overwritten(tmp_path: Path) -> None:
    run_sweep(tmp_path, *JOB)
    before = sorted((tmp_path / "sweep").rglob("*"))
    with pytest.raises(
        ConfigError, match=r"scaling=0\.2,seed_everything=0 holds the results of an"
    ):
        run_sweep(tmp_path, *JOB, "--data.test_batch_size", "7")
    assert sorted((tmp_path / "sweep").rglob("*")) == before


def test_points_of_a_config_that_was_edited_are_left_to_the_command_to_compare(
    tmp_path: Path,
) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("model: {init_args: {references: false}}\n")
    job = (*JOB, "--config", str(config))
    assert len(run_sweep(tmp_path, *job).commands) == 4
    assert run_sweep(tmp_path, *job).commands == []
    config.write_text("model: {init_args: {references: true}}\n")
    refusing = FakeRunner(failing=[f"scaling=0.2,seed_everything={seed}" for seed in (0, 1)])
    with pytest.raises(WeMoEError, match="2 of 4 points failed"):
        run_sweep(tmp_path, *job, runner=refusing)
    assert len(refusing.commands) == 4
    table = (tmp_path / "sweep" / "sweep.csv").read_text()
    assert "scaling=0.4" in table
    assert "scaling=0.2" not in table  # whose results are of the config before
    assert len(run_sweep(tmp_path, *job).commands) == 2


def test_points_of_other_code_are_run_anew_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_sweep(tmp_path, *JOB)
    monkeypatch.setattr("wemoe_pl.runs.identity.program", lambda: program() | {"code": "other"})
    with pytest.raises(ConfigError, match=r"the code of wemoe-pl .* give --fresh to run all"):
        run_sweep(tmp_path, *JOB)
    again = run_sweep(tmp_path, *JOB, "--fresh")
    assert len(again.commands) == 4
    assert all(command[-1] == "--fresh" for command in again.commands)


def test_two_scores_to_choose_by_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--choose chooses by information, but --select is ag"):
        run_sweep(tmp_path, *JOB, "--choose", "--select", "agreement")
    with pytest.raises(ConfigError, match=r"--select: there is no 'entropy'\. Valid names: "):
        run_sweep(tmp_path, *JOB, "--select", "entropy")
    run_sweep(tmp_path, *JOB, "--choose", "--select", "information")
    chosen = json.loads((tmp_path / "sweep" / "chosen.json").read_text())
    assert chosen["selected_by"] == "information"


def test_agreement_chooses_of_points_that_were_really_run(
    tmp_path: Path, tiny_suite_yaml: Path
) -> None:
    """Two static merges, of which the one of smaller λ is not the one that agrees more."""
    job = ("--config", "task_arithmetic", "--suite", str(tiny_suite_yaml), "--quiet")
    grid = ("--grid", "model.merge.scaling=0.0,0.4", "--trainer.accelerator", "cpu")
    out = tmp_path / "sweep"
    sweep([*job, *grid, "--select", "agreement", "--out", str(out)])
    chosen = json.loads((out / "chosen.json").read_text())
    found = {
        path.parent.name: json.loads(path.read_text())["agreement"]
        for path in out.glob("*/results.json")
    }
    means = {name: sum(own.values()) / len(own) for name, own in found.items()}
    assert len(set(means.values())) == 2
    assert Path(chosen["folder"]).name == max(means, key=lambda name: means[name])
    assert chosen["agreement"] == pytest.approx(max(means.values()))


def test_a_dry_run_prints_commands_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_sweep(tmp_path, *JOB, "--dry-run").commands == []
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("wemoe-pl test --config task_arithmetic --trainer.accelerator cpu")
    assert not (tmp_path / "sweep").exists()


def test_a_dry_run_refuses_what_the_sweep_would(tmp_path: Path) -> None:
    wrong = ("--config", "task_arithmetic", "--grid", "model.merge.scalign=0.2,0.4", "--dry-run")
    with pytest.raises(ConfigError, match=r"no key 'model.merge.scalign'\. Did you mean"):
        run_sweep(tmp_path, *wrong, runner=FakeRunner(checks=True))
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
        run_sweep(tmp_path, *arguments)
    assert not (tmp_path / "sweep").exists()


def test_help_fits_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        sweep(["--help"])
    assert leaving.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) < 40


@pytest.mark.slow
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
