"""What the processes of a run do together: end, and have SLURM queue them again."""

import os
import signal
import subprocess
from functools import partial
from types import FrameType
from typing import Any

import lightning as L
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only, rank_zero_warn
from torch.distributed import DistBackendError, DistNetworkError, DistStoreError

from wemoe_pl.callbacks.last_checkpoint import LastCheckpoint
from wemoe_pl.system.signals import REQUEST, Stopped


def is_first_process() -> bool:
    """Is this the process of a run that writes its files, as far as its environment says?"""
    return not getattr(rank_zero_only, "rank", 0)


class EndTogether(L.Callback):
    """When this process ends, so do those that it has started, which would wait for it."""

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Hand signals on.

        Lightning also has the processes talk from within the handler, wherever each of them is.
        """
        connector: Any = trainer._signal_connector
        connector._sigterm_notifier_fn = partial(pass_on, trainer)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """End them, unless all have agreed to end, and have a checkpoint to save together."""
        agreed = isinstance(exception, Stopped) and REQUEST.deferred
        end_others(trainer, signal.SIGTERM if agreed else signal.SIGKILL)


def pass_on(trainer: L.Trainer, signum: int, frame: FrameType | None) -> None:
    """Tell those that this process has started of a signal."""
    if isinstance(launcher := trainer.strategy.launcher, _SubprocessScriptLauncher):
        launcher.kill(signum)


def end_others(trainer: L.Trainer, signum: int = signal.SIGKILL) -> None:
    """End those that this process has started."""
    if isinstance(launcher := trainer.strategy.launcher, _SubprocessScriptLauncher):
        launcher.kill(signum)
        # Lightning watches them, and would kill this process before it has said why it ends.
        launcher.procs.clear()


class Requeue(L.Callback):
    """On SIGUSR1, saves the last checkpoint and has SLURM queue the job again.

    Lightning would do so at once, wherever each process is: two that are about to wait for each
    other then wait for ever. Here all agree before a step that it is time. The run goes on until
    SLURM ends it.

    Attributes:
        asked: has this process had the signal, and not obeyed yet?
    """

    def __init__(self) -> None:
        self.asked = False
        self._in_slurm = False

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Listen to the signal, before Lightning does, which then leaves it alone."""
        self._in_slurm = SLURMEnvironment.detect()
        if self._in_slurm:
            signal.signal(signal.SIGUSR1, self.ask)

    def ask(self, signum: int, frame: FrameType | None) -> None:
        """Remember the signal."""
        self.asked = True

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Between two steps, save and queue again if any process was asked to."""
        if not self._in_slurm or batch_idx % trainer.accumulate_grad_batches:
            return
        if trainer.strategy.reduce_boolean_decision(self.asked, all=False):
            callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
            for each in callbacks:
                if isinstance(each, LastCheckpoint):
                    each.save(trainer)
            self.obey(trainer)

    def on_test_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Queue again; what was trained is saved already."""
        if self.asked:
            self.obey(trainer)

    def obey(self, trainer: L.Trainer) -> None:
        """Have the job queued again, once for all processes."""
        self.asked = False
        if not trainer.is_global_zero:
            return
        job = job_id()
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
        if done.returncode:
            rank_zero_warn(f"SLURM did not queue job {job} again: {done.stderr.strip()}")
        else:
            rank_zero_info(f"Step {trainer.global_step} is saved; job {job} is queued again.")


def explain(error: RuntimeError) -> str | None:
    """One sentence for what goes wrong between processes; None for anything else."""
    if isinstance(error, DistNetworkError | DistStoreError):
        first = str(error).partition("\n")[0]
        return f"The processes of this run cannot reach one another: {first}"
    if isinstance(error, DistBackendError) or "/gloo/" in str(error):
        return "Another process of this run has ended: look at what it said."
    return None


def job_id() -> str:
    """What SLURM calls this job, which may be one of an array."""
    known = os.environ
    if "SLURM_ARRAY_JOB_ID" in known:
        return f"{known['SLURM_ARRAY_JOB_ID']}_{known['SLURM_ARRAY_TASK_ID']}"
    return known["SLURM_JOB_ID"]
