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
from helpers.interrupted import STEPS, Fit, assert_nothing_lost, kept, kept_step, learned, raising
from helpers.killing import copy_of
from PIL import Image

from wemoe_pl.data.miniature import CLASSES
from wemoe_pl.data.streams import StepBatches
from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.runs.replacing import MARK, waiting_place


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


def test_what_was_to_replace_a_run_is_begun_anew_where_it_cannot_be_gone_on_with(
    fit: Fit, out: Path, at_step: Callable[..., None], uninterrupted: Path, other: Path
) -> None:
    copy_of(other, out)
    attempt = RunFolder(out).next
    at_step(7, raising(MemoryError()))
    assert fit("--fresh")[0] == 1
    checkpoint = torch.load(attempt.last_checkpoint, weights_only=True)
    checkpoint["run"]["images"] = dict.fromkeys(checkpoint["run"]["images"], "others")
    torch.save(checkpoint, attempt.last_checkpoint)
    assert fit("--fresh")[0] == 0
    assert_nothing_lost(out, uninterrupted)


def test_files_of_others_are_back_whichever_command_ends_a_replacement(
    fit: Fit, out: Path, uninterrupted: Path, other: Path
) -> None:
    copy_of(uninterrupted, out)  # killed just when it had taken the place of the other
    (out / MARK).touch()
    copy_of(other, waiting_place(RunFolder(out)))
    (waiting_place(RunFolder(out)) / "notes.txt").write_text("mine")
    status, said = fit()
    assert (status, said.partition(":")[0]) == (0, "Nothing was run")
    assert (out / "notes.txt").read_text() == "mine"
    assert_nothing_lost(out, uninterrupted, but=[out / "notes.txt"])


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
    assert f"{RunFolder(out).last_checkpoint} is damaged or not a checkpoint" in said
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


def test_a_disk_that_is_full_costs_neither_the_old_run_nor_the_one_that_is_to_replace_it(
    fit: Fit, out: Path, at_step: Callable[..., None], uninterrupted: Path, other: Path, disk: Path
) -> None:
    copy_of(other, out)
    filler = disk / "filler"
    at_step(7, lambda: fill(filler))
    status, said = fit("--fresh")
    assert status == 1
    assert "No space left on device. Free some space" in said
    assert_nothing_lost(out, other, but=[RunFolder(out).next.path])
    filler.unlink()
    step = kept_step(RunFolder(out).next.path)
    assert said.endswith(kept(step, RunFolder(out).next.path))
    assert step >= 4
    assert fit("--fresh")[0] == 0
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


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """A picture of every car, all files of one size."""
    paths = [tmp_path / "pictures" / name / "1.bmp" for name in CLASSES["cars"]]
    for place, path in enumerate(paths):
        path.parent.mkdir(parents=True)
        Image.new("RGB", (28, 28), (20 * place, 0, 0)).save(path)
    return paths


def suite_of(pictures: Path, tiny_suite_yaml: Path) -> tuple[str, str]:
    """The options that take the pictures of a folder for those of cars."""
    suite = yaml.safe_load(tiny_suite_yaml.read_text())
    folder = {"class_path": "ImageFolderTask", "init_args": {"test": str(pictures)}}
    suite["tasks"]["cars"] = folder
    path = pictures.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(suite))
    return "--suite", str(path)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_file_that_vanishes_is_named_and_costs_nothing(
    fit: Fit, out: Path, at_step: Callable[..., None], tiny_suite_yaml: Path, tmp_path: Path,
    pictures: list[Path], workers: str,
) -> None:  # fmt: skip
    suite = suite_of(tmp_path / "pictures", tiny_suite_yaml)
    options = (*suite, "--data.num_workers", workers)
    vanished = pictures[3]
    at_step(7, lambda: vanished.rename(tmp_path / "elsewhere.bmp"))
    status, said = fit(*options)
    assert status == 1
    assert f"{vanished} is not a readable image: " in said
    assert "No such file or directory" in said
    assert "Traceback" not in said
    step = kept_step(out)
    assert step >= 7
    assert said.endswith(kept(step, out))
    (tmp_path / "elsewhere.bmp").rename(vanished)
    assert fit(*options)[0] == 0
    assert kept_step(out) == STEPS


def test_an_image_that_was_replaced_since_is_named_and_can_be_put_back(
    fit: Fit, out: Path, at_step: Callable[..., None], tiny_suite_yaml: Path, tmp_path: Path,
    pictures: list[Path],
) -> None:  # fmt: skip
    suite = suite_of(tmp_path / "pictures", tiny_suite_yaml)
    at_step(9, raising(MemoryError()))
    assert fit(*suite)[0] == 1
    before, old = pictures[3].stat(), pictures[3].read_bytes()
    Image.new("RGB", (28, 28), (0, 200, 0)).save(pictures[3])
    os.utime(pictures[3], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert pictures[3].stat().st_size == before.st_size
    status, said = fit(*suite)
    assert status == 1
    assert f"{pictures[3]} has changed since this run first read it: put the old image" in said
    assert kept_step(out) >= 9
    pictures[3].write_bytes(old)
    assert fit(*suite)[0] == 0
    assert kept_step(out) == STEPS


def test_images_that_were_copied_elsewhere_since_are_gone_on_with(
    fit: Fit, out: Path, at_step: Callable[..., None], tiny_suite_yaml: Path, tmp_path: Path,
    pictures: list[Path],
) -> None:  # fmt: skip
    there = suite_of(tmp_path / "pictures", tiny_suite_yaml)
    assert fit(*there)[0] == 0
    undisturbed = out.rename(tmp_path / "undisturbed")
    at_step(9, raising(MemoryError()))
    assert fit(*there)[0] == 1
    copy = tmp_path / "scratch" / "images"
    shutil.copytree(tmp_path / "pictures", copy, copy_function=shutil.copyfile)
    for path in copy.rglob("*.bmp"):
        os.utime(path, ns=(1, 2))
    shutil.rmtree(tmp_path / "pictures")
    assert fit(*suite_of(copy, tiny_suite_yaml))[0] == 0
    assert_nothing_lost(out, undisturbed)


def test_a_checkpoint_of_another_run_is_refused(
    fit: Fit, out: Path, at_step: Callable[..., None], uninterrupted: Path, other: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    last = RunFolder(out).last_checkpoint
    at_step(7, raising(MemoryError()))
    assert fit("--seed_everything", "5")[0] == 1
    of_seed_5 = last.rename(tmp_path / "of_seed_5.ckpt")
    shutil.rmtree(out)
    at_step(9, raising(MemoryError()))
    assert fit()[0] == 1
    own = last.read_bytes()
    shutil.copy(of_seed_5, last)
    status, said = fit()
    assert status == 1
    assert f"{last} belongs to another run: seed_everything was 5 and is now 0. " in said
    assert last.read_bytes() == of_seed_5.read_bytes()
    last.write_bytes(own)
    assert fit()[0] == 0
    assert_nothing_lost(out, uninterrupted)
    shutil.copy(RunFolder(other).last_checkpoint, last)  # beside results that are not of it
    status, said = fit()
    assert status == 1
    assert (
        "belongs to another run: model.init_args.learning_rate was 0.5 and is now 0.005. " in said
    )


def test_a_finished_run_is_shown_and_no_file_of_it_changed(
    fit: Fit, out: Path, uninterrupted: Path
) -> None:
    copy_of(uninterrupted, out)
    before = facts(out)
    status, said = fit("--data.num_workers", "1")
    assert status == 0
    first = said.splitlines()[0]
    assert re.fullmatch(r"Nothing was run: this run was finished \S+ \S+ by wemoe-pl \S+\.", first)
    assert facts(out) == before
    assert not list(out.parent.glob(".*"))


def facts(folder: Path) -> dict[Path, tuple[int, int, int]]:
    """What changes when a file is written to."""
    return {
        path: ((stat := path.stat()).st_ino, stat.st_size, stat.st_ctime_ns)
        for path in (folder, *folder.rglob("*"))
    }


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
    assert f"There is not enough memory{where}. Lower data.batch_size" in said
    assert said.endswith(f" Then go on with `--ckpt_path last`.{kept(7, out)}")
    smaller = ("--data.tasks_per_batch", "1", "--trainer.accumulate_grad_batches", "3")
    assert fit("--ckpt_path", "last", *smaller, "--trainer.val_check_interval", "45")[0] == 0
    assert kept_step(out) == STEPS
