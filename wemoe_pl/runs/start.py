"""A command begins in a folder, goes on there, shows a finished run, or leaves it alone."""

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
    """The way in which a command begins in the folder of a run.

    Args:
        folder: where it writes.
        replaces: the run whose place the folder takes when the command has finished.
        checkpoint: what a fit goes on from.
        finished: the results of a run that has finished here, with which this one is compared
            before anything is run.
        asked_to_change: does the command go on from a checkpoint with whatever config it has?
    """

    folder: RunFolder
    replaces: RunFolder | None = None
    checkpoint: Path | None = None
    finished: dict[str, Any] | None = None
    asked_to_change: bool = False

    @property
    def goes_on(self) -> bool:
        """Is it the run of this folder, and not another, that a fit goes on with?"""
        last = self.folder.last_checkpoint
        return self.checkpoint is not None and is_same_file(self.checkpoint, last)


def find_start(
    folder: RunFolder, recipe: Mapping[str, Any], given: Path | None = None, fresh: bool = False
) -> Start:
    """Find out how a fit or a test begins in a folder, as far as configs can tell.

    Args:
        folder: where the run is to be.
        recipe: the resolved config of the command.
        given: the checkpoint that a fit is asked to go on from.
        fresh: begin anew, whatever is there.

    Raises:
        ConfigError: the folder holds another run, or what is no run.
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
    """Begin, or go on with, a run that is to replace the one of this folder."""
    check_replaceable(folder)
    state = folder.next.state
    if state in (RunState.EMPTY, RunState.FOREIGN) or difference(folder.next.config, recipe):
        return Start(folder.next, replaces=folder)
    if state is RunState.FINISHED:  # killed before it was moved into place
        return Start(folder.next, folder, finished=folder.next.read_results())
    return Start(folder.next, folder, checkpoint=folder.next.last_checkpoint)


def start_in_finished(folder: RunFolder, recipe: Mapping[str, Any], given: Path | None) -> Start:
    """Show a finished run, or extend it where that is asked for."""
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
    """Go on with an interrupted run, if the config is the same or was asked for."""
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
    """Compare all that a run belongs to with what is there.

    Returns:
        The identity, with what the run goes on from.

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
    record = checkpoint.get(RECORD) or {}  # of an earlier version there is none
    change = identity.change_since_checkpoint(record)
    if change and not start.asked_to_change:
        raise ConfigError(
            f"{start.checkpoint} is not of this run: {change}. "
            f"{give_another(start.folder)}, "
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
    """The SHA-256 of the checkpoint of another run that a run began with, from what it has left."""
    return left.get(RECORD, {}).get("began_from")


def check_finished(start: Start, results: Mapping[str, Any], identity: Identity) -> None:
    """Raise `ConfigError` unless a finished run is what the same command would give now."""
    folder = start.folder
    if change := identity.change_since_results(folder, results):
        raise ConfigError(
            f"{folder.path} holds a finished run of something else: {change}. "
            f"{give_another(folder)}, or --fresh to replace it."
        )
    if change := program_change(results):
        raise ConfigError(
            f"{folder.path} holds this very run, finished before {change} was changed: nothing was "
            "run. Give --fresh to run it anew."
        )


def give_another(folder: RunFolder) -> str:
    """Propose a free folder beside one that is taken."""
    return f"Give another --out, such as {folder.free_neighbour()}"


def is_same_file(one: Path, other: Path) -> bool:
    """Do two paths mean one file?"""
    return one.resolve() == other.resolve()
