"""Saved and queued again between two steps, when a signal says so; all end when one fails."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import lightning as L
import pytest
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

from wemoe_pl.callbacks.last_checkpoint import LastCheckpoint
from wemoe_pl.callbacks.processes import EndTogether, Requeue, job_id
from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import DataError
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.runs.checkpoint import read_checkpoint
from wemoe_pl.training.adapt import TestTimeAdaptation

STEPS = 3


class Signals(L.Callback):
    """Sends the signal in the middle of some batches."""

    def __init__(self, *batches: int):
        self.batches = batches

    def on_before_backward(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.fit_loop.epoch_loop.batch_idx in self.batches:
            os.kill(os.getpid(), signal.SIGUSR1)


@pytest.fixture(autouse=True)
def restored_signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Path]:
    """`slurm(0)`: this process is a job of SLURM, whose scontrol answers 0; its record of calls."""

    def simulate(answer: int) -> Path:
        program = tmp_path / "bin" / "scontrol"
        program.parent.mkdir()
        asked = tmp_path / "asked"
        program.write_text(f'#!/bin/sh\necho "$@" >> {asked}\necho No such job >&2; exit {answer}')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        for name in ("NTASKS", "NTASKS_PER_NODE", "NNODES"):
            monkeypatch.setenv(f"SLURM_{name}", "1")
        for name in ("PROCID", "LOCALID", "NODEID"):
            monkeypatch.setenv(f"SLURM_{name}", "0")
        monkeypatch.setenv("SLURM_JOB_ID", "77")
        return asked

    return simulate


def fit(suite: Suite, trainer: Callable[..., L.Trainer], out: Path, *batches: int) -> None:
    """A run of three steps of three batches each; the signal comes in some batches."""
    callbacks = [Requeue(), Signals(*batches), KeepFirst(str(out))]
    options = {"accumulate_grad_batches": 3, "callbacks": callbacks, "enable_checkpointing": True}
    trainer(max_steps=STEPS, **options).fit(
        TestTimeAdaptation(suite, WEMoE(router_depth=0)),
        MultiTaskData(suite, batch_size=2, tasks_per_batch=1),
    )


class KeepFirst(LastCheckpoint):
    """Keeps what is saved first: not the end of the run, if there was something before."""

    def save(self, trainer: L.Trainer, ended: bool = False) -> None:
        if not self.path.exists():
            super().save(trainer, ended)


@pytest.mark.parametrize(("batch", "step"), [(0, 1), (1, 1), (2, 1), (3, 2)])
def test_a_signal_is_obeyed_before_the_next_step(
    tiny_suite: Suite, quiet_trainer: Callable[..., L.Trainer], tmp_path: Path,
    slurm: Callable[[int], Path], batch: int, step: int,
) -> None:  # fmt: skip
    asked = slurm(0)
    fit(tiny_suite, quiet_trainer, tmp_path, batch)
    assert asked.read_text() == "requeue 77\n"
    assert read_checkpoint(tmp_path / "last.ckpt")["global_step"] == step


def test_a_job_that_slurm_does_not_queue_again_goes_on(
    tiny_suite: Suite, quiet_trainer: Callable[..., L.Trainer], tmp_path: Path,
    slurm: Callable[[int], Path],
) -> None:  # fmt: skip
    asked = slurm(1)
    with pytest.warns(UserWarning, match=r"SLURM did not queue job 77 again: No such job"):
        fit(tiny_suite, quiet_trainer, tmp_path, 0, 4)
    assert asked.read_text() == 2 * "requeue 77\n"  # and is asked for again with the next signal


def test_without_slurm_the_signal_means_nothing(
    tiny_suite: Suite, quiet_trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    fit(tiny_suite, quiet_trainer, tmp_path)
    assert signal.getsignal(signal.SIGUSR1) == before
    assert read_checkpoint(tmp_path / "last.ckpt")["global_step"] == STEPS


def test_while_scoring_the_job_is_queued_again_at_once(
    tiny_suite: Suite, quiet_trainer: Callable[..., L.Trainer], slurm: Callable[[int], Path]
) -> None:
    class SignalsInTest(L.Callback):
        def on_test_batch_start(self, trainer: L.Trainer, *place: Any) -> None:
            if place[2:] == (0, 1):
                os.kill(os.getpid(), signal.SIGUSR1)

    asked = slurm(0)
    trainer = quiet_trainer(callbacks=[Requeue(), SignalsInTest()])
    trainer.test(TestTimeAdaptation(tiny_suite, WEMoE()), MultiTaskData(tiny_suite))
    assert asked.read_text() == "requeue 77\n"


def test_a_job_of_an_array_has_a_name_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "9")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert job_id() == "9_3"


def test_a_failing_process_ends_those_that_it_has_started(
    tiny_suite: Suite, quiet_trainer: Callable[..., L.Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Starter(_SubprocessScriptLauncher):
        killed: ClassVar[list[int]] = []

        def __init__(self) -> None:
            self.procs = [mock.Mock()]

        def launch(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
            options.pop("trainer")
            return function(*args, **options)

        def kill(self, signum: int) -> None:
            self.killed.append(signum)

    class Fails(L.Callback):
        def on_train_start(self, *_: Any) -> None:
            raise DataError("An image is gone.")

    trainer = quiet_trainer(max_steps=1, callbacks=[EndTogether(), Fails()])
    starter = Starter()
    monkeypatch.setattr(trainer.strategy, "_launcher", starter)
    with pytest.raises(DataError, match="An image is gone"):
        trainer.fit(TestTimeAdaptation(tiny_suite, WEMoE()), MultiTaskData(tiny_suite))
    assert Starter.killed == [signal.SIGKILL]
    assert not starter.procs  # nor does Lightning watch them, and kill this process in return
