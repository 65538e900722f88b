"""What goes wrong is told and costs nothing: when it is put right, the same command goes on."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from interrupted import STEPS, Fit, assert_nothing_lost, kept, kept_step, learned, raising
from PIL import Image

from wemoe_pl.miniature import CLASSES
from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.streams import StepBatches


def test_an_unfinished_run_of_another_config_is_neither_lost_nor_gone_on_with(
    fit: Fit, out: Path, at_step: Callable[..., None], uninterrupted: Path
) -> None:
    at_step(7, raising(MemoryError()))
    assert fit()[0] == 1
    other = ("--model.learning_rate", "0.5")
    status, said = fit(*other)
    assert status == 1
    refused = "holds an unfinished run of another config: model.init_args.learning_rate was 0.005"
    assert f"{out} {refused} and is now 0.5. Give another --out" in said
    assert kept_step(out) == 7
    assert fit("--data.num_workers", "1")[0] == 0  # of no matter
    assert_nothing_lost(out, uninterrupted)


def test_a_mistake_costs_no_checkpoint(
    fit: Fit, out: Path, at_step: Callable[..., None], uninterrupted: Path
) -> None:
    at_step(7, raising(MemoryError()))
    assert fit()[0] == 1
    status, said = fit("--fresh", "--model.learning_rate", "-1")
    assert (status, said) == (1, "wemoe-pl: learning_rate is -1.0: give a number above 0.\n")
    assert kept_step(out) == 7
    assert fit()[0] == 0
    assert_nothing_lost(out, uninterrupted)


def test_what_replaces_a_run_keeps_nothing_of_another_attempt(
    fit: Fit, out: Path, at_step: Callable[..., None], uninterrupted: Path
) -> None:
    shutil.copytree(uninterrupted, out)
    at_step(7, raising(MemoryError()))
    assert fit("--fresh", "--model.learning_rate", "0.5")[0] == 1
    attempt = RunFolder(out).next
    assert kept_step(attempt.path) == 7
    (attempt.path / "encoder.safetensors").touch()
    assert_nothing_lost(out, uninterrupted, but=[attempt.path])
    assert fit("--fresh")[0] == 0
    assert_nothing_lost(out, uninterrupted)


@pytest.mark.parametrize("options", [("--ckpt_path", "last"), ("--fresh",)])
def test_another_config_can_be_gone_on_with_or_begun_anew(
    fit: Fit,
    out: Path,
    at_step: Callable[..., None],
    options: tuple[str, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    at_step(7, raising(MemoryError()))
    assert fit()[0] == 1
    assert fit(*options, "--model.diversity", "1")[0] == 0
    assert ("Going on from step 7" in caplog.text) == ("--fresh" not in options)
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert not config["fresh"]
    assert config["model"]["init_args"]["diversity"] == 1
    assert kept_step(out) == STEPS


def test_a_damaged_checkpoint_is_told_and_not_replaced(
    fit: Fit, out: Path, at_step: Callable[..., None]
) -> None:
    at_step(7, raising(MemoryError()))
    assert fit()[0] == 1
    RunFolder(out).last_checkpoint.write_bytes(RunFolder(out).last_checkpoint.read_bytes()[:-1000])
    damaged = RunFolder(out).last_checkpoint.read_bytes()
    status, said = fit()
    assert status == 1
    assert f"{RunFolder(out).last_checkpoint} is damaged or no checkpoint" in said
    assert RunFolder(out).last_checkpoint.read_bytes() == damaged


def test_a_disk_that_is_full_costs_nothing(
    fit: Fit, out: Path, at_step: Callable[..., None], uninterrupted: Path, disk: Path
) -> None:
    filler = disk / "filler"
    at_step(7, lambda: fill(filler))
    status, said = fit()
    assert status == 1
    assert "No space left on device. Free some space" in said
    assert said.endswith(kept(kept_step(out), out))
    assert kept_step(out) >= 4
    filler.unlink()
    assert fit()[0] == 0
    assert_nothing_lost(out, uninterrupted)


def fill(path: Path) -> None:
    """Take all the space that is left."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 512)
        except OSError:
            return


def test_a_folder_that_becomes_read_only_costs_nothing(
    fit: Fit, out: Path, at_step: Callable[..., None], uninterrupted: Path, disk: Path
) -> None:
    at_step(7, lambda: let_nobody_write(out))
    try:
        status, said = fit()
        assert status == 1
        assert "Read-only file system" in said
        assert said.endswith(kept(4, out))
        status, said = fit()
        assert (status, said.count("\n")) == (1, 1)
        assert f"Cannot write to the folder {out}: Read-only file system." in said
    finally:
        subprocess.run(["umount", str(out)], check=True)
    assert fit()[0] == 0
    assert_nothing_lost(out, uninterrupted)


def let_nobody_write(folder: Path) -> None:
    """As a system does that has found a fault of the disk."""
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)


@pytest.fixture
def disk(out: Path) -> Iterator[Path]:
    """A disk of 1 MB for the run's folder."""
    out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(out.parent)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here: that takes root")
    yield out.parent
    subprocess.run(["umount", str(out.parent)], check=True)


def test_a_killed_loading_process_costs_nothing(
    fit: Fit, out: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        load = StepBatches.__getitem__

        def die(self: StepBatches, index: int) -> Any:
            if index == 9:
                os.kill(os.getpid(), signal.SIGKILL)
            return load(self, index)

        patch.setattr(StepBatches, "__getitem__", die)
        status, said = fit("--data.num_workers", "1")
    assert status == 1
    assert re.search("A process that loads images (is killed by signal|exited|has ended)", said)
    assert "data.num_workers to a smaller number, or to 0." in said
    assert said.endswith(kept(kept_step(out), out))
    assert kept_step(out) >= 4
    assert fit()[0] == 0
    assert_nothing_lost(out, uninterrupted)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_file_that_vanishes_is_named_and_costs_nothing(
    fit: Fit, out: Path, at_step: Callable[..., None], tiny_suite_yaml: Path, tmp_path: Path,
    workers: str,
) -> None:  # fmt: skip
    suite = yaml.safe_load(tiny_suite_yaml.read_text())
    pictures = tmp_path / "pictures"
    for place, name in enumerate(CLASSES["cars"]):
        (pictures / name).mkdir(parents=True)
        Image.new("RGB", (28, 28), (20 * place, 0, 0)).save(pictures / name / "1.png")
    folder = {"class_path": "ImageFolderTask", "init_args": {"test": str(pictures)}}
    suite["tasks"]["cars"] = folder
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(suite))
    options = ("--suite", str(tmp_path / "suite.yaml"), "--data.num_workers", workers)
    vanished = pictures / CLASSES["cars"][3] / "1.png"
    at_step(7, lambda: vanished.rename(tmp_path / "elsewhere.png"))
    status, said = fit(*options)
    assert status == 1
    assert f"{vanished} is not a readable image: " in said
    assert "No such file or directory" in said
    assert "Traceback" not in said
    step = kept_step(out)
    assert step >= 7
    assert said.endswith(kept(step, out))
    (tmp_path / "elsewhere.png").rename(vanished)
    assert fit(*options)[0] == 0
    assert kept_step(out) == STEPS


def test_a_batch_that_is_no_number_spoils_nothing(
    fit: Fit, out: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        load = StepBatches.__getitem__

        def spoil(self: StepBatches, index: int) -> Any:
            batch = load(self, index)
            if index == 9:
                batch["cars"][0].fill_(torch.nan)
            return batch

        patch.setattr(StepBatches, "__getitem__", spoil)
        status, said = fit()
    assert status == 1
    assert (
        "The gradient is nan at step 10 (train/entropy is nan, train/entropy/cars is nan)" in said
    )
    assert said.endswith(kept(9, out))
    assert all(weight.isfinite().all() for weight in learned(out).values())
    assert fit()[0] == 0
    assert_nothing_lost(out, uninterrupted)


def take_too_much() -> None:
    torch.empty(10**15)


@pytest.mark.parametrize(
    ("act", "where"),
    [
        (take_too_much, ""),
        (raising(torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB")), " on the GPU"),
    ],
)
def test_too_little_memory_is_told_with_what_would_fit_which_then_goes_on(
    fit: Fit, out: Path, at_step: Callable[..., None], act: Callable[[], object], where: str
) -> None:
    at_step(7, act)
    status, said = fit()
    assert status == 1
    assert f"There is not enough memory{where}. What would fit: a smaller data.batch_size" in said
    assert said.endswith(f" Go on with it by `--ckpt_path last`.{kept(7, out)}")
    smaller = ("--data.tasks_per_batch", "1", "--trainer.accumulate_grad_batches", "3")
    assert fit("--ckpt_path", "last", *smaller, "--trainer.val_check_interval", "45")[0] == 0
    assert kept_step(out) == STEPS
