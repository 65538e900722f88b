"""Decide how a job begins: in which folder, from which checkpoint, or not at all."""

import warnings
from collections.abc import Sequence
from typing import Any

from jsonargparse import Namespace
from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_info

from wemoe_pl.callbacks.last_checkpoint import IdentityRecord, LastCheckpoint
from wemoe_pl.callbacks.lookup import all_callbacks, callbacks_of
from wemoe_pl.callbacks.processes import is_first_process
from wemoe_pl.cli.job_config import write_to
from wemoe_pl.cli.options import CONFIG, values_of
from wemoe_pl.data.vision_data import VisionData
from wemoe_pl.runs.identity import Identity
from wemoe_pl.runs.meant_run import meant_run
from wemoe_pl.runs.session import Command, Session
from wemoe_pl.system.files import digest
from wemoe_pl.training.module import MultiTaskModule


def session_of(
    command: Command, arguments: Sequence[str], recipe: dict[str, Any], is_fresh: bool
) -> Session:
    """Return the session of a command in the folder that its arguments mean.

    Args:
        command: the command that the arguments begin with.
        arguments: all arguments of the command line.
        recipe: the resolved config.
        is_fresh: True if the run begins anew, whatever the folder holds.
    """
    is_given = [bool(values_of(arguments, option)) for option in ("--out", "--ckpt_path")]
    meant = meant_run(command, values_of(arguments, *CONFIG), recipe, *is_given)
    is_trial = bool(recipe["trainer"]["fast_dev_run"])
    return Session(command, meant, is_first_process(), is_trial, is_fresh)


def enter_folder(session: Session, config: Namespace, recipe: dict[str, Any]) -> None:
    """Lock the run's folder, and make all parts of a job write there and resume from there.

    This comes before the parts are built, since a run that has finished needs none of them.

    Args:
        session: the session of the command.
        config: the parsed config; it is changed in place.
        recipe: the config as plain values, as it was given.
    """
    session.enter(recipe)
    write_to(config, session.folder.path)
    given = session.meant.checkpoint
    is_there = session.start.goes_on  # the folder's own checkpoint, whose path may change
    config.ckpt_path = None if given is None or is_there else str(given)
    if session.resumed_checkpoint is not None:
        of = f"step {session.step} of {config.trainer.max_steps}"
        rank_zero_info(f"Going on from {of}: {session.resumed_checkpoint}")


def compare_with_folder(
    session: Session,
    recipe: dict[str, Any],
    trainer: Trainer,
    model: MultiTaskModule,
    data: VisionData,
) -> None:
    """Compare a run with the one in its folder, and make checkpoints record the run's identity.

    Raises:
        AlreadyFinished: the runs are the same, and the one in the folder has finished.
        ConfigError: the config, the weights or the images differ.
        CheckpointError: the checkpoint that the run would go on from is of another model.
    """
    if session.command == "validate" or session.command == "predict":  # they leave no results
        return
    scored = session.scored_checkpoint if session.command == "test" else None
    with warnings.catch_warnings():
        if session.start.finished is not None:  # the run itself has shown the warnings
            warnings.simplefilter("ignore")
        identity = Identity(
            command=session.command,
            recipe=recipe,
            images=data.sets.identities(session.command),
            sources=model.frozen_sources,
            checkpoint=digest(scored) if scored else None,
        )
        record = IdentityRecord(session.compare(identity))
    model.check_frozen(session.resumed_checkpoint)
    for last in callbacks_of(trainer, LastCheckpoint):
        # A run that replaces another one is resumed, also if --fresh is given once more.
        last.begins_anew = session.is_fresh and session.start.replaces is None
    all_callbacks(trainer).append(record)
