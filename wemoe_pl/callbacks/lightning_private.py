"""All private parts of Lightning that are called here, each with the reason.

They were tried with Lightning 2.6.6. A test names those that another version changes.
"""

from collections.abc import Callable
from types import FrameType
from typing import Any

import lightning as L
from lightning.pytorch.strategies.launchers import (
    _MultiProcessingLauncher,
    _SubprocessScriptLauncher,
)
from lightning.pytorch.trainer.call import _call_and_handle_interrupt


def handle_sigterm(trainer: L.Trainer, handler: Callable[[int, FrameType | None], None]) -> None:
    """Let a handler take the place of the one that Lightning installs when a run begins.

    That has the processes talk from within the handler, wherever each of them is, and no setting
    of a trainer leaves it out.
    """
    connector: Any = trainer._signal_connector
    connector._sigterm_notifier_fn = handler


def starter_of(trainer: L.Trainer) -> _SubprocessScriptLauncher | None:
    """The launcher with the processes that this one has started; None if it has started none.

    Its `kill` and `procs` are the only way to them.
    """
    launcher = trainer.strategy.launcher
    return launcher if isinstance(launcher, _SubprocessScriptLauncher) else None


def cause_in_trainer(error: Exception) -> Exception:
    """The error that has ended a run, where Lightning fails in turn when it tears that down.

    It does so where its loaders were not made, say. What it catches begins in its own frame.
    """
    caught, place = error.__context__, getattr(error.__context__, "__traceback__", None)
    is_of_run = place is not None and place.tb_frame.f_code is _call_and_handle_interrupt.__code__
    return caught if is_of_run and isinstance(caught, Exception) else error


def starts_processes_midway(trainer: L.Trainer) -> bool:
    """Does a strategy such as `ddp_spawn` start its processes in the middle of a run?

    The name of the strategy does not say so of those that are given as objects.
    """
    return isinstance(trainer.strategy.launcher, _MultiProcessingLauncher)


def validate_now(trainer: L.Trainer) -> None:
    """Validate before the first step of a fit, as Lightning itself does behind one.

    It offers no way to, but for the sanity check, of which no logger hears.
    """
    connector = trainer._logger_connector
    is_first = connector._first_loop_iter
    trainer.validating = True
    trainer.fit_loop.epoch_loop.val_loop.run()
    trainer.training = True
    connector._first_loop_iter = is_first


def set_progress(
    loop: dict[str, Any], step: int, trainer: L.Trainer, is_due: bool, is_validated: bool
) -> None:
    """Let a fit go on behind a whole step, which is validated first if that is due.

    Lightning counts batches, has several ways to restart depending on the hook that saved, and
    takes the batches of a step that was cut short for done. It offers no other way to say where a
    fit goes on than the state of its loops.

    Args:
        loop: the state of the fit loop in a checkpoint; changed in place.
        step: how many steps are done.
        trainer: whose step is a number of batches.
        is_due: does a validation follow the step?
        is_validated: was the step validated already?
    """
    batches = step * trainer.accumulate_grad_batches
    pending = int(is_due and not is_validated)
    length = trainer.limit_train_batches  # of an epoch; a share of data without end is all of it
    epoch, behind = divmod(batches, length) if isinstance(length, int) else (0, batches)
    loop["epoch_progress"] = loop_progress(epoch, begun=1)
    loop["epoch_loop.batch_progress"] = loop_progress(batches) | {"current": counts(behind)}
    loop["epoch_loop.val_loop.batch_progress"] = loop_progress(0, begun=pending)
    loop["epoch_loop.state_dict"] = {"_batches_that_stepped": step - is_due}


def loop_progress(done: int, begun: int = 0) -> dict[str, Any]:
    """The progress of a loop that has done some epochs or batches, and begun some more."""
    reached = counts(done, begun)
    return {"total": reached, "current": reached, "is_last_batch": False}


def counts(done: int, begun: int = 0) -> dict[str, int]:
    """Return the counters of epochs or batches in the form in which Lightning keeps them."""
    first = dict.fromkeys(("ready", "started"), done + begun)
    return first | dict.fromkeys(("processed", "completed"), done)
