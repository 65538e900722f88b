"""Several processes come to what one comes to: what is learned, scored, predicted and written."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.launched import (
    DIFFERS,
    Args,
    alone,
    outcome,
    run,
    started,
    together,
    torchrun,
    wait_until,
)
from helpers.processes import PATIENCE
from torch import Tensor

from wemoe_pl.cli import main

# Batches of 2 are 1, 1, 2, 3 and 4: of four processes, some have none of a task.
ADAPT = (
    *("--config", "adapt_miniature", "--data.batch_size", "4", "--data.test_batch_size", "2"),
    *("--trainer.max_steps", "4", "--trainer.val_check_interval", "2"),
    *("--trainer.log_every_n_steps", "1", "--data.num_workers", "0", "--quiet"),
)
LARGE = ("--data.test_batch_size", "8")  # a batch per task: all but the first process have none
GROUPS = (
    *("--data.tasks_per_batch", "2", "--trainer.accumulate_grad_batches", "3"),
    *("--trainer.val_check_interval", "6"),
)


@pytest.fixture(scope="module")
def suite(uneven_suite_yaml: Path) -> Args:
    """The suite that does not split evenly."""
    return "--suite", uneven_suite_yaml


@pytest.fixture(scope="module")
def adapted(suite: Args, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in one process."""
    return alone("fit", (*suite, *ADAPT), tmp_path_factory.mktemp("adapted") / "run")


def results(folder: Path) -> dict[str, Any]:
    contents: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return {name: value for name, value in contents.items() if name not in DIFFERS}


def trained(folder: Path) -> dict[str, Tensor]:
    """Weights, without the biases of keys.

    These have no effect on attention, and so no gradient but what is rounded, by whose sign alone
    Adam takes a step.
    """
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    weights: dict[str, Tensor] = checkpoint["state_dict"]
    return {
        name: torch.cat(weight.chunk(3)[::2]) if name.endswith("qkv.bias") else weight
        for name, weight in weights.items()
    }


def curves(folder: Path, kind: str) -> dict[tuple[str, str], float]:
    """What was logged of a kind, by step and name."""
    with (folder / "logs" / "metrics.csv").open() as file:
        return {
            (row["step"], name): float(value)
            for row in csv.DictReader(file)
            for name, value in row.items()
            if name.startswith(kind) and value and "per_second" not in name
        }


def hashes(folder: Path) -> dict[str, Tensor]:
    """Of the images that a run has read, by the name of their set."""
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    contents = checkpoint["MultiTaskData"]["contents"]
    return {name: each["hashes"] for name, each in contents.items()}


def assert_same_training(several: Path, one: Path) -> None:
    """Weights and curves within what sums in another order differ by."""
    expected, found = trained(one), trained(several)
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, rtol=0, atol=1e-6)
    for kind in ("train/", "val/"):
        assert curves(one, kind)
        assert curves(several, kind) == pytest.approx(curves(one, kind), abs=1e-4)


def test_four_processes_adapt_routers_as_one(adapted: Path, suite: Args, tmp_path: Path) -> None:
    several = together(4, "fit", (*suite, *ADAPT, *LARGE), tmp_path / "run")
    assert_same_training(several, adapted)
    assert results(several)["images"] == results(adapted)["images"]
    seen, expected = hashes(several), hashes(adapted)
    assert seen.keys() == expected.keys()
    assert all(seen[name].equal(expected[name]) and seen[name].all() for name in expected)
    written = {path.name for path in adapted.iterdir()}
    assert {path.name for path in several.iterdir()} == written


@pytest.mark.parametrize(
    "job",
    [
        (*ADAPT, *GROUPS),
        (*ADAPT, "--model.diversity", "1", "--model.reliable", "0.9", "--guard.action", "restore"),
        (*ADAPT, "--allow", "helpers", "--model.objective", "helpers.objectives.Everything"),
        pytest.param(("--config", "adamerging_layer_wise", *ADAPT[2:]), marks=pytest.mark.soak),
        ("--config", "multitask", *ADAPT[2:], "--tasks", "[two,five]", "--data.stream", "train"),
        ("--config", "finetune_miniature", *ADAPT[2:], "--task", "seven"),
    ],
    ids=["groups", "robust", "own objective", "adamerging", "multitask", "fine-tuning"],
)
def test_two_processes_learn_by_other_jobs_as_one(suite: Args, tmp_path: Path, job: Args) -> None:
    one = alone("fit", (*suite, *job, "--trainer.accelerator", "cpu"), tmp_path / "one")
    args = (*suite, *job, "--trainer.accelerator", "cpu")
    assert_same_training(together(2, "fit", args, tmp_path / "two"), one)


@pytest.mark.parametrize("size", [2, pytest.param(8, marks=pytest.mark.soak)])
def test_four_processes_score_exactly_as_one(
    adapted: Path, suite: Args, tmp_path: Path, size: int
) -> None:
    checkpoint = ("--ckpt_path", adapted / "checkpoints" / "last.ckpt")
    args = (*suite, *ADAPT, *checkpoint, "--data.test_batch_size", str(size))
    one = alone("test", args, tmp_path / "one")
    several = together(4, "test", args, tmp_path / "four")
    assert results(several) == results(one)
    assert (several / "routing.csv").read_text() == (one / "routing.csv").read_text()
    assert curves(several, "test/") == curves(one, "test/")


def test_predictions_of_several_processes_are_in_order_and_complete(
    adapted: Path, suite: Args, tmp_path: Path, uneven_suite_yaml: Path
) -> None:
    images = ("--data.images", uneven_suite_yaml.parent / "five")
    args = (*suite, *ADAPT, *images, "--ckpt_path", adapted / "checkpoints" / "last.ckpt")
    one, several = (
        alone("predict", args, tmp_path / "one"),
        together(4, "predict", args, tmp_path / "four"),
    )
    rows = (several / "predictions.csv").read_text()
    assert rows == (one / "predictions.csv").read_text()
    assert len(rows.splitlines()) == 1 + 5 * 5


def test_several_processes_go_on_where_one_has_stopped(
    adapted: Path, suite: Args, tmp_path: Path, uneven_suite_yaml: Path
) -> None:
    images = ("--data.images", uneven_suite_yaml.parent / "five")
    args = (*suite, *ADAPT, *images, "--ckpt_path", adapted / "checkpoints" / "last.ckpt")
    one, several = alone("predict", args, tmp_path / "one"), tmp_path / "two"
    first = ("--trainer.limit_predict_batches", "1", "--out", several)
    assert main.main(["predict", *map(str, (*args, *first))]) == 1
    assert len(list(several.glob("predictions.csv.*/*.json"))) == 1
    together(2, "predict", args, several)
    rows = [(folder / "predictions.csv").read_text() for folder in (one, several)]
    assert rows[0] == rows[1]


def test_validation_prints_one_table(suite: Args, adapted: Path, tmp_path: Path) -> None:
    loud = [arg for arg in ADAPT if arg != "--quiet"]
    args = ("validate", *suite, *loud, "--trainer.devices", "2", "--out", tmp_path / "run")
    first, second = run(torchrun(2), args, tmp_path / "said")
    assert "Accuracy on uneven" in first
    assert "Accuracy on uneven" not in second


# What only one process can do


def test_more_processes_than_devices_are_refused_in_a_sentence(suite: Args, tmp_path: Path) -> None:
    args = ("fit", *suite, *ADAPT, "--trainer.devices", "1", "--out", tmp_path / "run")
    statuses, said = outcome(torchrun(2), args, tmp_path / "said")
    assert statuses == [1, 1]
    for lines in said:
        assert lines.splitlines()[-1].startswith("wemoe-pl: torchrun has started 2 processes, but")
    assert not (tmp_path / "run" / "results.json").exists()


def test_a_process_whose_other_is_gone_ends_with_a_sentence(suite: Args, tmp_path: Path) -> None:
    out = tmp_path / "run"
    args = ("fit", *suite, *ADAPT, "--trainer.max_steps", "999", "--trainer.devices", "2")
    with started(torchrun(2), [*args, "--out", out], tmp_path / "said") as (first, second):
        wait_until((out / "checkpoints" / "last.ckpt").is_file, first.is_alive)
        second.kill()
        first.join(PATIENCE)
        assert first.exitcode == 1
    said = (tmp_path / "said" / "0.log").read_text()
    told = "wemoe-pl: Another process of this run has ended: look at its output. Step "
    assert said.splitlines()[-1].startswith(told)
    assert "Traceback" not in said


@pytest.mark.parametrize("told", [[1], pytest.param([0, 1], marks=pytest.mark.soak)], ids=str)
def test_a_signal_ends_all_at_one_step_from_which_the_same_command_goes_on(
    suite: Args, tmp_path: Path, told: list[int]
) -> None:
    out = tmp_path / "run"
    args = (
        *("fit", *suite, *(arg for arg in ADAPT if arg != "--quiet"), "--out", out),
        *("--trainer.max_steps", "200", "--trainer.val_check_interval", "100"),
        *("--trainer.devices", "2", "--model.references", "false"),
        *("--checkpoint.every_n_steps", "2", "--trainer.enable_progress_bar", "false"),
    )
    with started(torchrun(2), args, tmp_path / "said") as pair:
        wait_until((out / "checkpoints" / "last.ckpt").is_file, pair[0].is_alive)
        for rank in told:
            os.kill(pair[rank].pid or 0, signal.SIGTERM)
        for process in pair:
            process.join(PATIENCE)
        assert [process.exitcode for process in pair] == [143, 143]
    step = torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
    for rank in range(2):
        last = (tmp_path / "said" / f"{rank}.log").read_text().splitlines()[-1]
        assert last.startswith("wemoe-pl: Stopped by SIGTERM; nothing was left half-written.")
        assert f"Step {step} of 200 is kept in" in last
    said = run(torchrun(2), args, tmp_path / "again")
    assert f"Going on from step {step} of 200" in said[0]
    assert (out / "results.json").is_file()


# As a user starts it


def test_lightning_starts_the_other_process_by_itself(
    adapted: Path, suite: Args, tmp_path: Path
) -> None:
    cpu = ("--config", "trainer/ddp", "--trainer.accelerator", "cpu", "--trainer.devices", "2")
    out = tmp_path / "run"
    args = ["fit", *suite, *ADAPT, *cpu, "--out", out]
    program = [sys.executable, "-m", "wemoe_pl", *map(str, args)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert_same_training(out, adapted)
