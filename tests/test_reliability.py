"""Whatever happens to a run, nothing is lost: docs/reliability.md says what was done, how often."""

import json
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from processes import Running

from wemoe_pl import cli, jobs
from wemoe_pl.adapt import TestTimeAdaptation
from wemoe_pl.miniature import CLASSES
from wemoe_pl.run_checkpoint import last_checkpoint, read_checkpoint
from wemoe_pl.signals import REQUEST
from wemoe_pl.streams import StepBatches

STEPS = 40
OPTIONS = {
    "trainer.max_steps": STEPS, "trainer.val_check_interval": 15, "trainer.log_every_n_steps": 2,
    "trainer.enable_progress_bar": "false", "trainer.deterministic": "false",
    "data.batch_size": 4, "checkpoint.every_n_steps": 4, "model.references": "false",
}  # fmt: skip
SPEED = "train/images_per_second"
OF_THE_CLOCK = ("seconds", "command", "revision")

Outcome = tuple[int, str]
Fit = Callable[..., Outcome]


@pytest.fixture(scope="session")
def job(tiny_suite_yaml: Path) -> list[str]:
    """The main job on the tiny suite, of a few steps."""
    return [
        "--config", "adapt_miniature", "--suite", str(tiny_suite_yaml),
        *(part for key, value in OPTIONS.items() for part in (f"--{key}", str(value))),
    ]  # fmt: skip


def draw_nothing() -> None:
    """Pictures take longer than all the rest."""
    jobs.write_pictures = lambda *_: []  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def uninterrupted(job: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run to which nothing happened."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    with Running(["fit", *job, "--out", str(folder)], folder / "log", draw_nothing) as run:
        assert run.wait() == 0, run.output
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def fit(
    job: list[str], out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Fit:
    """`fit("--key", …)`: the job in this process; its status and errors."""
    monkeypatch.setattr("sys.argv", ["wemoe-pl"])
    monkeypatch.setattr(jobs, "write_pictures", lambda *_: [])

    def run(*options: str, command: str = "fit") -> Outcome:
        status = cli.main([command, *job, "--out", str(out), *options])
        return status, capsys.readouterr().err

    return run


def learned(out: Path) -> dict[str, torch.Tensor]:
    """The routers."""
    weights: dict[str, torch.Tensor] = read_checkpoint(last_checkpoint(out))["state_dict"]
    return weights


def kept_step(out: Path) -> int:
    """The step that is kept."""
    return int(read_checkpoint(last_checkpoint(out))["global_step"])


def curves(out: Path) -> list[list[str]]:
    """`metrics.csv`, without what a clock says."""
    header, *lines = (line.split(",") for line in (out / "logs/metrics.csv").read_text().split())
    column = header.index(SPEED)
    return [cells[:column] + cells[column + 1 :] for cells in (header, *lines)]


def results(out: Path) -> dict[str, Any]:
    """`results.json`, without what a clock says."""
    contents = json.loads((out / "results.json").read_text())
    return {key: value for key, value in contents.items() if key not in OF_THE_CLOCK}


def assert_nothing_lost(out: Path, uninterrupted: Path) -> None:
    """All that a run leaves is as if nothing had happened, and nothing more."""
    torch.testing.assert_close(learned(out), learned(uninterrupted), rtol=0, atol=0)
    assert curves(out) == curves(uninterrupted)
    assert results(out) == results(uninterrupted)
    left = {path.relative_to(out) for path in out.rglob("*")}
    assert left == {p.relative_to(uninterrupted) for p in uninterrupted.rglob("*")} - {Path("log")}


# --- kill -9 ---------------------------------------------------------------------------------


def save_slowly() -> None:
    """A disk that takes a while, so that a process can be killed in the middle of a save."""
    draw_nothing()
    save = torch.save

    def slow(checkpoint: Any, file: Any) -> None:
        whole = BytesIO()
        save(checkpoint, whole)
        for start in range(0, whole.tell(), 4096):
            file.write(whole.getbuffer()[start : start + 4096])
            file.flush()
            time.sleep(0.002)

    torch.save = slow  # type: ignore[assignment]


def is_saving(out: Path) -> bool:
    return any(out.glob("checkpoints/.*.part*"))


def state_of(path: Path) -> int:
    return path.stat().st_mtime_ns if path.is_file() else 0


def kill_at(moment: str, run: Running, out: Path, generator: random.Random) -> None:
    """Wait for a moment, then a little longer, and kill."""
    before = state_of(last_checkpoint(out))
    moments: dict[str, tuple[Callable[[], bool], float]] = {
        "starting": (lambda: True, 2.0),
        "stepping": (lambda: state_of(last_checkpoint(out)) != before, 0.1),
        "saving": (lambda: is_saving(out), 0.01),
        "scoring": (lambda: "`max_steps" in run.output, 0.2),
    }
    reached, longest = moments[moment]
    run.wait_until(reached)
    time.sleep(generator.uniform(0, longest))
    run.send(signal.SIGKILL)
    run.wait()


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 21))]
)
def test_a_run_that_is_killed_ten_times_ends_as_one_that_never_was(
    seed: int, job: list[str], out: Path, uninterrupted: Path, tmp_path: Path,
    record_property: Any,
) -> None:  # fmt: skip
    generator = random.Random(seed)
    moments = ["saving", "saving", *generator.choices(["starting", "stepping", "saving"], k=7)]
    generator.shuffle(moments)
    command, torn = ["fit", *job, "--checkpoint.every_n_steps", "1", "--out", str(out)], 0
    for life, moment in enumerate([*moments, "scoring"]):
        step = kept_step(out) if last_checkpoint(out).is_file() else 0
        with Running(command, tmp_path / f"{life}.log", save_slowly) as run:
            kill_at(moment, run, out, generator)
            assert run.wait() in (-signal.SIGKILL, 0), run.output
        told = f"Going on from step {step} of {STEPS}: {last_checkpoint(out)}"
        if step and "GPU available" in run.output:  # which is printed behind it
            assert told in run.output
        torn += is_saving(out)
    record_property("torn", torn)
    with Running(command, tmp_path / "last.log", draw_nothing) as run:
        assert run.wait() == 0, run.output
    assert_nothing_lost(out, uninterrupted)


# --- SIGTERM and Ctrl-C ----------------------------------------------------------------------


def wait_at(hook: str, call: int, marker: Path) -> None:
    """Let the process wait for a signal at the n-th call of a hook."""
    draw_nothing()
    original, calls = getattr(TestTimeAdaptation, hook), 0

    def counted(self: TestTimeAdaptation, *args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            marker.touch()
            while REQUEST.signum is None:
                time.sleep(0.01)
        return original(self, *args)

    setattr(TestTimeAdaptation, hook, counted)


@pytest.mark.parametrize(
    ("number", "hook", "call", "workers", "kept"),
    [
        (signal.SIGTERM, "training_step", 6, 0, 6),
        (signal.SIGTERM, "training_step", 6, 2, 6),
        (signal.SIGINT, "training_step", 6, 2, 6),
        (signal.SIGINT, "validation_step", 2, 0, 15),
        (signal.SIGTERM, "validation_step", 2, 2, 15),
        (signal.SIGTERM, "test_step", 2, 2, STEPS),
        (signal.SIGINT, "test_step", 2, 0, STEPS),
        (signal.SIGINT, "build", 1, 0, None),
    ],
)
def test_a_signal_ends_a_fit_with_what_it_has_learned(
    job: list[str], out: Path, tmp_path: Path, number: signal.Signals, hook: str, call: int,
    workers: int, kept: int | None,
) -> None:  # fmt: skip
    command = ["fit", *job, "--data.num_workers", str(workers), "--out", str(out)]
    here = tmp_path / "here"
    with Running(command, tmp_path / "log", partial(wait_at, hook, call, here)) as run:
        assert run.wait_until(here.exists), run.output
        run.send(number, to_all=True)
        assert run.wait() == 128 + number, run.output
        assert not [process for process in run.others if "resource_tracker" not in process]
    stopped = f"wemoe-pl: Stopped by {number.name}; nothing was left half-written."
    told = f" Step {kept} of {STEPS} is kept in {last_checkpoint(out)}: the same command goes on"
    assert run.last_line == stopped + (f"{told} from there." if kept else "")
    assert "Traceback" not in run.output
    assert not (out / "results.json").exists()
    if kept:
        assert kept_step(out) == kept
    else:
        assert not last_checkpoint(out).exists()


def test_a_second_ctrl_c_ends_at_once(job: list[str], out: Path, tmp_path: Path) -> None:
    command = ["fit", *job, "--out", str(out)]
    here = tmp_path / "here"
    with Running(command, tmp_path / "log", partial(stay_at, 6, here)) as run:
        assert run.wait_until(here.exists), run.output
        run.send(signal.SIGINT)
        time.sleep(0.2)
        assert run.process.is_alive()
        run.send(signal.SIGINT)
        assert run.wait() == -signal.SIGINT
    assert kept_step(out) == 4  # the interval's


def stay_at(step: int, marker: Path) -> None:
    """A step without end."""

    def stay(self: TestTimeAdaptation, batch: Any, batch_idx: int) -> Any:
        if batch_idx == step:
            marker.touch()
            while True:
                time.sleep(0.01)
        return original(self, batch, batch_idx)

    original = TestTimeAdaptation.training_step
    TestTimeAdaptation.training_step = stay  # type: ignore[method-assign]


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
def test_a_run_that_is_stopped_again_and_again_ends_as_one_that_never_was(
    seed: int, job: list[str], out: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    generator, command, stops = random.Random(seed), ["fit", *job, "--out", str(out)], 0
    while not (out / "results.json").exists():
        before = state_of(last_checkpoint(out))
        number = generator.choice([signal.SIGTERM, signal.SIGINT])
        with Running(command, tmp_path / f"{stops}.log", draw_nothing) as run:
            run.wait_until(lambda before=before: state_of(last_checkpoint(out)) != before)  # type: ignore[misc]
            time.sleep(generator.uniform(0, 0.03))
            run.send(number)
            assert run.wait() in (128 + number, 0), run.output
        stops += 1
        assert stops < STEPS
    assert_nothing_lost(out, uninterrupted)


@pytest.mark.parametrize("command", ["test", "validate", "predict"])
def test_a_signal_ends_any_other_command_without_half_a_result(
    job: list[str], out: Path, tmp_path: Path, command: str
) -> None:
    Image.new("RGB", (28, 28)).save(tmp_path / "image.png")
    images = ("--data.images", str(tmp_path)) if command == "predict" else ()
    hook = {"test": "test_step", "validate": "validation_step", "predict": "predict_step"}[command]
    here, arguments = tmp_path / "here", [command, *job, *images, "--out", str(out)]
    with Running(arguments, tmp_path / "log", partial(wait_at, hook, 1, here)) as run:
        assert run.wait_until(here.exists), run.output
        run.send(signal.SIGTERM)
        assert run.wait() == 143, run.output
    assert run.last_line == "wemoe-pl: Stopped by SIGTERM; nothing was left half-written."
    assert not list(out.glob("*.csv")) + list(out.glob("*.json"))


# --- what the same command does --------------------------------------------------------------


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`at_step(7, act)`: act when the batch behind step 7 is learned from."""

    def arrange(step: int, act: Callable[[], object]) -> None:
        original = TestTimeAdaptation.training_step

        def training_step(self: TestTimeAdaptation, batch: Any, batch_idx: int) -> Any:
            if self.trainer.global_step == step:
                monkeypatch.setattr(TestTimeAdaptation, "training_step", original)
                act()
            return original(self, batch, batch_idx)

        monkeypatch.setattr(TestTimeAdaptation, "training_step", training_step)

    return arrange


def raising(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


def kept(step: int, out: Path) -> str:
    place = f"Step {step} of {STEPS} is kept in {last_checkpoint(out)}"
    return f" {place}: the same command goes on from there.\n"


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
    last_checkpoint(out).write_bytes(last_checkpoint(out).read_bytes()[:-1000])
    damaged = last_checkpoint(out).read_bytes()
    status, said = fit()
    assert status == 1
    assert f"{last_checkpoint(out)} is damaged or no checkpoint" in said
    assert last_checkpoint(out).read_bytes() == damaged


# --- faults ----------------------------------------------------------------------------------


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


def test_a_disk_that_becomes_read_only_costs_nothing(
    fit: Fit, out: Path, at_step: Callable[..., None], uninterrupted: Path, disk: Path
) -> None:
    at_step(7, lambda: remount(disk, "ro"))
    status, said = fit()
    assert status == 1
    assert "Read-only file system" in said
    assert said.endswith(kept(4, out))
    status, said = fit()
    assert (status, said.count("\n")) == (1, 1)
    assert f"Cannot write to the folder {out}: Read-only file system." in said
    remount(disk, "rw")
    assert fit()[0] == 0
    assert_nothing_lost(out, uninterrupted)


@pytest.fixture
def disk(out: Path) -> Iterator[Path]:
    """A disk of 1 MB for the run's folder."""
    out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(out.parent)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here: that takes root")
    yield out.parent
    subprocess.run(["umount", str(out.parent)], check=True)


def remount(disk: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", str(disk)], check=True)


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
    assert said.endswith(kept(7, out))
    smaller = ("--data.tasks_per_batch", "1", "--trainer.accumulate_grad_batches", "3")
    assert fit("--ckpt_path", "last", *smaller, "--trainer.val_check_interval", "45")[0] == 0
    assert kept_step(out) == STEPS
