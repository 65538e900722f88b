"""A job begins here: in which folder, from which checkpoint, or not at all."""

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
    """The session of a command in the folder that its arguments mean.

    Args:
        command: the one that they begin with.
        arguments: all that was given on the command line.
        recipe: the resolved config.
        is_fresh: is the run to begin anew?
    """
    is_given = [bool(values_of(arguments, option)) for option in ("--out", "--ckpt_path")]
    meant = meant_run(command, values_of(arguments, *CONFIG), recipe, *is_given)
    is_trial = bool(recipe["trainer"]["fast_dev_run"])
    return Session(command, meant, is_first_process(), is_trial, is_fresh)


def enter_folder(session: Session, config: Namespace, recipe: dict[str, Any]) -> None:
    """Lock the run's folder, and let all parts of a job write there and go on from there.

    This comes before all else: where the run has finished, there is only one line to say.

    Args:
        session: of the command.
        config: the parsed config; changed in place.
        recipe: the same as plain values, as it was given.
    """
    session.enter(recipe)
    write_to(config, session.folder.path)
    given = session.meant.checkpoint
    is_there = session.start.goes_on  # in the folder, wherever that is moved to
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
    """Compare a run with the one in its folder, and let checkpoints say what they belong to.

    Raises:
        AlreadyFinished: they are the same, and the run has come to its end.
        ConfigError: the config, the weights or the images are others.
        CheckpointError: the checkpoint that the run would go on from is of another model.
    """
    if session.command == "validate" or session.command == "predict":  # of which nothing is kept
        return
    scored = session.scored_checkpoint if session.command == "test" else None
    with warnings.catch_warnings():
        if session.start.finished is not None:  # when it ran, they were told
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
        # What replaces another run is gone on with by --fresh too.
        last.begins_anew = session.is_fresh and session.start.replaces is None
    all_callbacks(trainer).append(record)
