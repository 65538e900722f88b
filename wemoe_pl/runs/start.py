"""Decide whether a command begins in a folder, goes on there, shows its run, or is refused."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wemoe_pl.errors import ConfigError
from wemoe_pl.runs.checkpoint import read_checkpoint
from wemoe_pl.runs.folder import RunFolder, RunState
from wemoe_pl.runs.identity import RECORD, Identity, program_change
from wemoe_pl.runs.replacing import check_replaceable
from wemoe_pl.runs.settings import difference
from wemoe_pl.system.files import digest


@dataclass
class Start:
    """A `Start` is the way in which a command begins in the folder of a run.

    Args:
        folder: the folder that the command writes to.
        replaces: the run whose place the folder takes when the command has finished.
        checkpoint: the checkpoint that a fit goes on from.
        finished: the results of a run that has finished here, with which this one is compared
            before anything is run.
        asked_to_change: True if the command goes on from a checkpoint even with another config.
    """

    folder: RunFolder
    replaces: RunFolder | None = None
    checkpoint: Path | None = None
    finished: dict[str, Any] | None = None
    asked_to_change: bool = False

    @property
    def goes_on(self) -> bool:
        """Return whether a fit goes on with the run of this folder, instead of another run."""
        last = self.folder.last_checkpoint
        return self.checkpoint is not None and is_same_file(self.checkpoint, last)


def find_start(
    folder: RunFolder, recipe: Mapping[str, Any], given: Path | None = None, fresh: bool = False
) -> Start:
    """Find out how a fit or a test begins in a folder, as far as configs can tell.

    Args:
        folder: the folder of the run.
        recipe: the resolved config of the command.
        given: the checkpoint that a fit is asked to go on from.
        fresh: True to begin anew, whatever is there.

    Raises:
        ConfigError: the folder holds another run, or something that is no run.
    """
    state = folder.state
    if state is RunState.FOREIGN:
        raise ConfigError(
            f"{folder.path} holds a {folder.results.name} or {folder.config.name} that is damaged "
            f"or was not written by wemoe-pl. {give_another(folder)}."
        )
    if state is RunState.EMPTY:
        return Start(folder, checkpoint=given, asked_to_change=given is not None)
    if fresh:
        return fresh_start(folder, recipe)
    if state is RunState.FINISHED:
        return start_in_finished(folder, recipe, given)
    return start_in_unfinished(folder, recipe, given)


def fresh_start(folder: RunFolder, recipe: Mapping[str, Any]) -> Start:
    """Return the start, new or continued, of a run that is to replace the one of this folder."""
    check_replaceable(folder)
    state = folder.next.state
    if state in (RunState.EMPTY, RunState.FOREIGN) or difference(folder.next.config, recipe):
        return Start(folder.next, replaces=folder)
    if state is RunState.FINISHED:  # killed before it was moved into place
        return Start(folder.next, folder, finished=folder.next.read_results())
    return Start(folder.next, folder, checkpoint=folder.next.last_checkpoint)


def start_in_finished(folder: RunFolder, recipe: Mapping[str, Any], given: Path | None) -> Start:
    """Return a start that shows a finished run, or extends it if that is asked for."""
    results = folder.read_results() or {}
    own = given is not None and is_same_file(given, folder.last_checkpoint)
    differs = difference(folder.config, recipe)
    if given is not None and not own and beginning(results) != digest(given):
        differs = differs or f"it did not begin from {given}"
    if not differs:
        return Start(folder, finished=results)
    if own:
        done, wanted = (results.get("checkpoint") or {}).get("step"), recipe["trainer"]["max_steps"]
        if done is None or wanted > done:
            return Start(folder, checkpoint=given, asked_to_change=True)
        differs = f"it ended at step {done}, and trainer.max_steps is {wanted}"
    extend = ", or `--ckpt_path last` with more trainer.max_steps to extend it"
    raise ConfigError(
        f"{folder.path} holds a finished run of another config: {differs}. "
        f"{give_another(folder)}, or --fresh to replace it when the new run has finished"
        f"{extend if 'trainer.max_steps' in differs else ''}."
    )


def start_in_unfinished(folder: RunFolder, recipe: Mapping[str, Any], given: Path | None) -> Start:
    """Return a start that continues an interrupted run, if the config is the same or asked for."""
    differs = difference(folder.config, recipe)
    if given is not None:
        if not differs and beginning(read_checkpoint(folder.last_checkpoint)) == digest(given):
            return Start(folder, checkpoint=folder.last_checkpoint)
        return Start(folder, checkpoint=given, asked_to_change=True)
    if differs:
        raise ConfigError(
            f"{folder.path} holds an unfinished run of another config: {differs}. "
            f"{give_another(folder)}, `--ckpt_path last` to go on with this config, "
            "or --fresh to begin anew."
        )
    return Start(folder, checkpoint=folder.last_checkpoint)


def compare_with_start(start: Start, identity: Identity) -> Identity:
    """Compare the identity of a run with what is in its folder.

    Returns:
        The identity, with the beginning and the history of the run that it goes on from.

    Raises:
        ConfigError: the folder holds a run of another seed, of other weights or other images; or
            it has finished, and was made by another version of the program.
    """
    if start.finished is not None:
        check_finished(start, start.finished, identity)
        return identity
    if start.checkpoint is None:
        return identity
    checkpoint = read_checkpoint(start.checkpoint)
    record = checkpoint.get(RECORD) or {}  # an earlier version has written none
    change = identity.change_since_checkpoint(record)
    if change and not start.asked_to_change:
        raise ConfigError(
            f"{start.checkpoint} belongs to another run: {change}. {give_another(start.folder)}, "
            "`--ckpt_path last` to go on all the same, or --fresh to begin anew."
        )
    changes = [change] if change else []
    if record and (other := program_change(checkpoint)):
        changes.append(f"{other} has changed")
    notes = [f"From step {checkpoint['global_step']}: {change}" for change in changes]
    return replace(
        identity,
        began_from=beginning(checkpoint) if start.goes_on else digest(start.checkpoint),
        history=[*record.get("history", ()), *notes],
    )


def beginning(left: Mapping[str, Any]) -> str | None:
    """Return the SHA-256 of another run's checkpoint that a run began with, from what it left."""
    return left.get(RECORD, {}).get("began_from")


def check_finished(start: Start, results: Mapping[str, Any], identity: Identity) -> None:
    """Raise `ConfigError` unless a finished run is what the same command would give now."""
    folder = start.folder
    if change := identity.change_since_results(folder, results):
        raise ConfigError(
            f"{folder.path} holds another finished run: {change}. {give_another(folder)}, or "
            "--fresh to replace it."
        )
    if change := program_change(results):
        raise ConfigError(
            f"{folder.path} holds this very run, finished before {change} was changed: nothing was "
            "run. Give --fresh to run it anew."
        )


def give_another(folder: RunFolder) -> str:
    """Propose a free folder next to one that is taken."""
    return f"Give another --out, such as {folder.free_neighbour()}"


def is_same_file(one: Path, other: Path) -> bool:
    """Return whether two paths mean one file."""
    return one.resolve() == other.resolve()
