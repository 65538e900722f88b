"""Call private parts of Lightning, each for a stated reason, in this module alone.

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
    """Replace the SIGTERM handler that Lightning installs when a run begins.

    Lightning's makes the processes communicate from within the handler, wherever each of them is,
    and no setting of a trainer leaves it out.
    """
    connector: Any = trainer._signal_connector
    connector._sigterm_notifier_fn = handler


def starter_of(trainer: L.Trainer) -> _SubprocessScriptLauncher | None:
    """Return the launcher with the processes that this one has started; None if there are none.

    Its `kill` and `procs` are the only access to them.
    """
    launcher = trainer.strategy.launcher
    return launcher if isinstance(launcher, _SubprocessScriptLauncher) else None


def cause_in_trainer(error: Exception) -> Exception:
    """Return the error that ended a run, even if Lightning's teardown then failed with `error`.

    The teardown fails, for example, if the loaders were not made. The traceback of an error that
    Lightning has caught begins in the frame of `_call_and_handle_interrupt`.
    """
    caught, place = error.__context__, getattr(error.__context__, "__traceback__", None)
    is_of_run = place is not None and place.tb_frame.f_code is _call_and_handle_interrupt.__code__
    return caught if is_of_run and isinstance(caught, Exception) else error


def starts_processes_midway(trainer: L.Trainer) -> bool:
    """Return whether a strategy such as `ddp_spawn` starts its processes in the middle of a run.

    The name of a strategy does not tell, since it may be given as an object.
    """
    return isinstance(trainer.strategy.launcher, _MultiProcessingLauncher)


def validate_now(trainer: L.Trainer) -> None:
    """Validate before the first step of a fit, in the way that Lightning validates after a step.

    Lightning's own way is the sanity check, which no logger hears of.
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
    """Make a fit go on after a whole step, which is validated first if that is due.

    Lightning counts batches, restarts in several ways depending on the hook that saved, and counts
    the batches of an unfinished step as done. The state of its loops is the only way to tell it
    where a fit goes on.

    Args:
        loop: the state of the fit loop in a checkpoint, which is changed in place.
        step: the number of steps that are done.
        trainer: the trainer, which knows how many batches a step has.
        is_due: True if a validation follows the step.
        is_validated: True if the step was validated already.
    """
    batches = step * trainer.accumulate_grad_batches
    pending = int(is_due and not is_validated)
    length = trainer.limit_train_batches  # of an epoch; with a float, data and epoch never end
    epoch, behind = divmod(batches, length) if isinstance(length, int) else (0, batches)
    loop["epoch_progress"] = loop_progress(epoch, begun=1)
    loop["epoch_loop.batch_progress"] = loop_progress(batches) | {"current": counts(behind)}
    loop["epoch_loop.val_loop.batch_progress"] = loop_progress(0, begun=pending)
    loop["epoch_loop.state_dict"] = {"_batches_that_stepped": step - is_due}


def loop_progress(done: int, begun: int = 0) -> dict[str, Any]:
    """Return the progress of a loop that has done some epochs or batches, and begun some more."""
    reached = counts(done, begun)
    return {"total": reached, "current": reached, "is_last_batch": False}


def counts(done: int, begun: int = 0) -> dict[str, int]:
    """Return the counters of epochs or batches in the form in which Lightning keeps them."""
    first = dict.fromkeys(("ready", "started"), done + begun)
    return first | dict.fromkeys(("processed", "completed"), done)
