"""End the processes of a run together, and make SLURM queue them again."""

import os
import signal
import subprocess
from functools import partial
from types import FrameType
from typing import Any

import lightning as L
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from wemoe_pl.callbacks.last_checkpoint import LastCheckpoint
from wemoe_pl.callbacks.lightning_private import handle_sigterm, starter_of
from wemoe_pl.callbacks.lookup import callbacks_of
from wemoe_pl.system.signals import REQUEST, UNDOS, Stopped
from wemoe_pl.system.warn import warn


def is_first_process() -> bool:
    """Return whether this process writes the run's files, as far as its environment tells."""
    return not getattr(rank_zero_only, "rank", 0)


class EndTogether(L.Callback):
    """The callback ends this process when it is asked to, and the processes that it has started.

    Those wait for this one. A fit ends between two steps, which `LastCheckpoint` ensures.
    """

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Keep Lightning from forwarding signals to the processes that this one has started.

        They agree on the step at which all end, and a second signal would end them at once.
        """
        handle_sigterm(trainer, lambda *_: None)
        UNDOS[self] = partial(end_others, trainer)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Forget how to end the other processes, since the stage is over."""
        del UNDOS[self]

    def on_validation_batch_start(self, *_: Any) -> None:
        """End if asked while the model is validated, but not within a fit."""
        REQUEST.obey_if_due()

    def on_test_batch_start(self, *_: Any) -> None:
        """End if asked while the model is scored."""
        REQUEST.obey_if_due()

    def on_predict_batch_start(self, *_: Any) -> None:
        """End if asked while images are classified."""
        REQUEST.obey_if_due()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """End the other processes, unless all have agreed to save a checkpoint together and end."""
        UNDOS.pop(self, None)
        have_agreed = isinstance(exception, Stopped) and REQUEST.deferred
        end_others(trainer, by_themselves=have_agreed)


def end_others(trainer: L.Trainer, by_themselves: bool = False) -> None:
    """Kill the processes that this one has started, or let them end by themselves; do not wait."""
    if starter := starter_of(trainer):
        if not by_themselves:
            starter.kill(signal.SIGKILL)
        # Lightning watches them, and would kill this process before it has said why it ends.
        starter.procs.clear()


class Requeue(L.Callback):
    """The callback saves the last checkpoint on SIGUSR1, and makes SLURM queue the job again.

    Lightning would do so at once, wherever each process is, and two that are about to wait for each
    other would then wait forever. Here, all processes agree before a step that it is time. The run
    goes on until SLURM ends it.

    Attributes:
        asked: True if this process has had the signal, and has not obeyed it yet.
    """

    def __init__(self) -> None:
        self.asked = False
        self._in_slurm = False

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Handle the signal before Lightning would, which then leaves it alone."""
        self._in_slurm = SLURMEnvironment.detect()
        if self._in_slurm:
            signal.signal(signal.SIGUSR1, self.ask)

    def ask(self, signum: int, frame: FrameType | None) -> None:
        """Remember the signal."""
        self.asked = True

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Save and queue again, between two steps, if any process was asked to."""
        if not self._in_slurm or batch_idx % trainer.accumulate_grad_batches:
            return
        if trainer.strategy.reduce_boolean_decision(self.asked, all=False):
            for last_checkpoint in callbacks_of(trainer, LastCheckpoint):
                last_checkpoint.save(trainer)
            self.obey(trainer)

    def on_test_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Queue again if asked; the trained weights are saved already."""
        if self.asked:
            self.obey(trainer)

    def obey(self, trainer: L.Trainer) -> None:
        """Ask SLURM to queue the job again, once for all processes."""
        self.asked = False
        if not trainer.is_global_zero:
            return
        job = job_id()
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
        if done.returncode:
            warn(f"SLURM did not queue job {job} again: {done.stderr.strip()}")
        else:
            rank_zero_info(f"Step {trainer.global_step} is saved; job {job} is queued again.")


def job_id() -> str:
    """Return SLURM's name of this job, which may be one of an array."""
    known = os.environ
    if "SLURM_ARRAY_JOB_ID" in known:
        return f"{known['SLURM_ARRAY_JOB_ID']}_{known['SLURM_ARRAY_TASK_ID']}"
    return known["SLURM_JOB_ID"]
