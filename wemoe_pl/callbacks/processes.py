"""The processes of a run end together, and have SLURM queue them again."""

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
    """Is this the process of a run that writes its files, as far as its environment says?"""
    return not getattr(rank_zero_only, "rank", 0)


class EndTogether(L.Callback):
    """Ends this process when it is asked to, and those that it has started, which wait for it.

    A fit ends between two steps, for which `LastCheckpoint` sees.
    """

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Keep signals from them: they agree on the step, and a second signal would end them."""
        handle_sigterm(trainer, lambda *_: None)
        UNDOS[self] = partial(end_others, trainer)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Let go of them."""
        del UNDOS[self]

    def on_validation_batch_start(self, *_: Any) -> None:
        """End while the model is validated, unless in a fit."""
        REQUEST.obey_if_due()

    def on_test_batch_start(self, *_: Any) -> None:
        """End while the model is scored."""
        REQUEST.obey_if_due()

    def on_predict_batch_start(self, *_: Any) -> None:
        """End while images are classified."""
        REQUEST.obey_if_due()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """End them, unless all have agreed to end, and have a checkpoint to save together."""
        UNDOS.pop(self, None)
        have_agreed = isinstance(exception, Stopped) and REQUEST.deferred
        end_others(trainer, by_themselves=have_agreed)


def end_others(trainer: L.Trainer, by_themselves: bool = False) -> None:
    """End the processes that this one has started, or let them end, and wait for none."""
    if starter := starter_of(trainer):
        if not by_themselves:
            starter.kill(signal.SIGKILL)
        # Lightning watches them, and would kill this process before it has said why it ends.
        starter.procs.clear()


class Requeue(L.Callback):
    """Saves the last checkpoint on SIGUSR1, and has SLURM queue the job again.

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
            for last_checkpoint in callbacks_of(trainer, LastCheckpoint):
                last_checkpoint.save(trainer)
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
            warn(f"SLURM did not queue job {job} again: {done.stderr.strip()}")
        else:
            rank_zero_info(f"Step {trainer.global_step} is saved; job {job} is queued again.")


def job_id() -> str:
    """The name that SLURM has for this job, which may be one of an array."""
    known = os.environ
    if "SLURM_ARRAY_JOB_ID" in known:
        return f"{known['SLURM_ARRAY_JOB_ID']}_{known['SLURM_ARRAY_TASK_ID']}"
    return known["SLURM_JOB_ID"]
