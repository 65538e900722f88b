"""Save `last.ckpt`, and go on from it as if the fit had never been interrupted."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from wemoe_pl.callbacks.lightning_private import set_progress
from wemoe_pl.callbacks.validation_schedule import is_validated_behind
from wemoe_pl.callbacks.whole_file import WholeFile
from wemoe_pl.errors import CheckpointError, ConfigError, WeMoEError
from wemoe_pl.runs.checkpoint import ENDED
from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.runs.identity import RECORD, Identity
from wemoe_pl.system.signals import REQUEST, Stopped, expect_lost_children
from wemoe_pl.training.optimizer_check import check_optimizers, check_schedulers


class LastCheckpoint(Checkpoint):
    """The callback keeps `last.ckpt` in a folder, always of a whole step.

    It is saved after every validation, every few steps, when training has ended, and when an error
    or a signal ends the run. A fit that goes on from it ends with the weights of one that was never
    interrupted, bit for bit on a CPU.

    Args:
        dirpath: the folder of the checkpoint, below that of the run.
        every_n_steps: the number of steps between saves, the most that a power cut can cost; 0 to
            save at validations only.
    """

    def __init__(self, dirpath: str, every_n_steps: int = 100):
        if every_n_steps < 0:
            raise ConfigError(f"every_n_steps is {every_n_steps}: give a number from 0.")
        self.folder = RunFolder(Path(dirpath).parent)
        self.path = Path(dirpath) / self.folder.last_checkpoint.name
        self.every_n_steps = every_n_steps
        self.saved_step: int | None = None
        self.validated_step: int | None = None
        self._whole = False  # True if the weights and all other state are those of a whole step
        self._fitting = False  # True once a fit has begun
        self._ended = False  # True if the checkpoint is one of a training that has ended
        self._begun_elsewhere = False  # True if the command names the checkpoint of another run
        self.begins_anew = False  # True if the command says --fresh, and so begins anew each time
        self._rng: dict[str, Tensor] = {}
        self._loaded: dict[str, Any] | None = None  # the checkpoint, until the fit goes on from it

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Make the strategy write checkpoints whole, and read only intact ones."""
        self._fitting = self._fitting or stage == TrainerFn.FITTING
        trainer.strategy.checkpoint_io = WholeFile(self.on_written)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Check that the fit can go on from its checkpoint, from one step in all processes."""
        check_together(trainer, self.saved_step or 0)
        check_states(trainer, self._loaded or {})
        self._loaded = None
        begun_from = trainer.ckpt_path and Path(trainer.ckpt_path).resolve()
        self._begun_elsewhere = begun_from not in (None, self.path.resolve())

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Delete the results that an earlier run has left, and begin or go on."""
        if trainer.is_global_zero:
            if self._begun_elsewhere or not trainer.global_step:
                self.path.unlink(missing_ok=True)  # first, or it could be taken for this run's
            self.folder.results.unlink(missing_ok=True)
        restore_rng(self._rng)
        self._whole, self._rng = True, rng_states()
        REQUEST.deferred = True

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """End if asked, or save every few steps: the step before has been logged by now."""
        if batch_idx % trainer.accumulate_grad_batches:
            return
        end_if_asked(trainer)
        step = trainer.global_step
        if self.every_n_steps and step and step % self.every_n_steps == 0:
            self.save(trainer)

    def on_before_optimizer_step(self, trainer: L.Trainer, *_: Any) -> None:
        """Note that the weights are about to change."""
        self._whole = False

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Note that a step is whole: its weights have changed, and other callbacks have seen it."""
        if not self._whole:
            self._whole, self._rng = True, rng_states()

    def on_validation_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """End if asked, since a fit's validation may take long, and a resumed fit repeats it."""
        if REQUEST.deferred and trainer.world_size == 1:
            REQUEST.obey()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save after a validation of a fit, but not after the sanity check."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self.validated_step, self._rng = trainer.global_step, rng_states()
            self.save(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the checkpoint of a training that has ended."""
        self.save(trainer, ended=True)
        self._whole = False
        end_if_asked(trainer)
        REQUEST.deferred = False
        if trainer.world_size == 1:
            REQUEST.obey()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Save the last whole step, and say where it is."""
        expect_lost_children()
        REQUEST.obeyed = True
        agreed = isinstance(exception, Stopped)  # all processes have agreed to end
        if self._whole and trainer.global_step and (trainer.world_size == 1 or agreed):
            try:
                self.save(trainer)
            except (WeMoEError, RuntimeError) as failed:  # what went wrong may be the disk
                if agreed:
                    exception.add_note(f"A later step could not be saved: {failed}")
        self._whole = REQUEST.deferred = False
        if self._fitting and self.saved_step is not None and self.path.is_file():
            kept = f"Step {self.saved_step} of {trainer.max_steps} is kept in {self.path}"
            exception.add_note(f"{kept}: {going_on(self._begun_elsewhere, self.begins_anew)}")

    def save(self, trainer: L.Trainer, ended: bool = False) -> None:
        """Replace the last checkpoint by a new one, after all logged values have been written.

        The last step is saved only when training has ended, since its checkpoint says so.
        """
        step = trainer.global_step
        resumable = getattr(trainer.lightning_module, "resumable", True)
        tried_out = getattr(trainer, "fast_dev_run", False)
        if tried_out or (not ended and not (0 < step < trainer.max_steps and resumable)):
            return
        for logger in trainer.loggers:
            logger.save()
        self._ended = ended
        trainer.save_checkpoint(self.path)
        self.saved_step = step

    def on_written(self, path: Path, checkpoint: dict[str, Any]) -> None:
        """Note the saved step before Lightning waits for other processes, which may be gone."""
        if path == self.path:
            self.saved_step = checkpoint["global_step"]

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a resumed run goes on with."""
        return {"rng": self._rng, "validated_step": self.validated_step, ENDED: self._ended}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of an interrupted run."""
        self._rng = state_dict["rng"]
        self.validated_step = state_dict["validated_step"]

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Set Lightning's counters to the step of the checkpoint."""
        self._loaded = checkpoint
        step = self.saved_step = checkpoint["global_step"]
        if trainer.state.fn == TrainerFn.FITTING and 0 < step < trainer.max_steps:
            validated = checkpoint["callbacks"].get(self.state_key, {}).get("validated_step")
            is_due, loop = is_validated_behind(trainer, step), checkpoint["loops"]["fit_loop"]
            set_progress(loop, step, trainer, is_due, is_validated=validated == step)


def going_on(begun_elsewhere: bool, begins_anew: bool) -> str:
    """Say how to go on from a checkpoint: by the same command, unless it begins anew or elsewhere.

    >>> going_on(begun_elsewhere=False, begins_anew=True)
    'the same command without --fresh goes on from there.'
    """
    how = "the same command without --fresh" if begins_anew else "the same command"
    return f"{'`--ckpt_path last`' if begun_elsewhere else how} goes on from there."


class IdentityRecord(L.Callback):
    """The callback writes the identity of its run into every checkpoint.

    Args:
        identity: the identity of the run.
    """

    def __init__(self, identity: Identity):
        self.identity = identity

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Write the part of the identity that a later command compares with its own."""
        checkpoint[RECORD] = self.identity.of_checkpoint


def check_together(trainer: L.Trainer, step: int) -> None:
    """Raise `CheckpointError`, in all processes, unless they all go on from the same step."""
    first = trainer.strategy.broadcast(step)
    if trainer.strategy.reduce_boolean_decision(first != step, all=False):
        raise CheckpointError(
            f"The first process of this run goes on from step {first}, but other processes do not "
            "see the checkpoint of that step: let all machines share the disk of --out, or give "
            "another --out to begin anew."
        )


def check_states(trainer: L.Trainer, checkpoint: dict[str, Any]) -> None:
    """Raise `CheckpointError` unless a fit can go on with the states in a checkpoint, if any."""
    if checkpoint:
        schedulers: Any = [config.scheduler for config in trainer.lr_scheduler_configs]
        check_optimizers(checkpoint["optimizer_states"], trainer.optimizers)
        check_schedulers(checkpoint["lr_schedulers"], schedulers)


def end_if_asked(trainer: L.Trainer) -> None:
    """Raise `Stopped`, in all processes, if a signal has asked one of them to end."""
    if trainer.world_size == 1:
        REQUEST.obey()
        return
    own = torch.tensor(REQUEST.signum or 0, device=trainer.strategy.root_device)
    signum = int(trainer.strategy.reduce(own, reduce_op="max"))
    if signum:
        REQUEST.signum = signum  # later errors between processes are part of their ending
        raise Stopped(signum)


def rng_states() -> dict[str, Tensor]:
    """Return the states of the generators of all that is random in a step, such as dropout."""
    cuda = {"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_initialized() else {}
    return {"cpu": torch.get_rng_state(), **cuda}


def restore_rng(states: dict[str, Tensor]) -> None:
    """Restore the random generators of an interrupted run.

    Raises:
        CheckpointError: the states are damaged.
    """
    try:
        if "cpu" in states:
            torch.set_rng_state(states["cpu"])
        if "cuda" in states and torch.cuda.is_initialized():
            torch.cuda.set_rng_state(states["cuda"])
    except (RuntimeError, TypeError) as error:
        raise CheckpointError(
            "The state of the random generators in the checkpoint is damaged: go on from another "
            "checkpoint, or begin anew with --fresh."
        ) from error
