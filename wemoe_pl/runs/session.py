"""A command uses the folder of a run: from its lock to its results."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from wemoe_pl.errors import ConfigError
from wemoe_pl.runs.checkpoint import read_checkpoint
from wemoe_pl.runs.folder import TRIAL, RunFolder, RunState
from wemoe_pl.runs.identity import RECORD, Identity
from wemoe_pl.runs.lock import held, now, time_in_words
from wemoe_pl.runs.meant_run import Meant
from wemoe_pl.runs.replacing import is_unfinished, recover, replace_by_next
from wemoe_pl.runs.settings import difference
from wemoe_pl.runs.start import Start, compare_with_start, find_start
from wemoe_pl.system.files import digest, make_folder

Command = Literal["fit", "validate", "test", "predict"]
# By these an agent of Weights & Biases tells a command which trial of which sweep it is.
SWEEP_VARIABLES = ("WANDB_SWEEP_ID", "WANDB_RUN_ID")


class AlreadyFinished(Exception):  # noqa: N818 (it is no error)
    """There is nothing to run: the same run has finished.

    Args:
        folder: where it is.
        results: what it left.
    """

    def __init__(self, folder: RunFolder, results: Mapping[str, Any]):
        super().__init__(f"{folder.path} holds this run already")
        self.folder = folder
        self.results = results

    @property
    def sentence(self) -> str:
        """One line that says when the run has finished, and by what."""
        then = self.results.get("finished")
        if then is None:  # of a version that did not note it
            then = time_in_words(self.folder.results.stat().st_mtime)
        version = self.results["versions"]["wemoe_pl"]
        return f"Nothing was run: finished {then} by wemoe-pl {version}."


class Session:
    """The use that one command makes of the folder of a run.

    Args:
        command: what is done there.
        meant: the folder and the checkpoint that it was given.
        is_first: is this the first process of the command, which alone locks and writes?
        is_trial: is it only tried whether the command runs (`fast_dev_run`)?
        is_fresh: does it begin anew, whatever is there?

    Attributes:
        folder: where the command writes.
        start: how it begins there.
        step: how many steps of a fit are done already.
        identity: what the run belongs to, once it was compared with what is there.
        is_scratch: is the folder one that is not kept?
        notes: what a user is to know of all this.
    """

    def __init__(
        self, command: Command, meant: Meant, is_first: bool, is_trial: bool, is_fresh: bool
    ):
        self.command = command
        self.meant = meant
        self.is_first = is_first
        self.is_trial = is_trial
        self.is_fresh = is_fresh
        self.is_scratch = False
        self.notes: list[str] = []
        self.identity: Identity | None = None
        self._held = ExitStack()
        self.folder = self.choose_folder(RunFolder(trial_of_sweep(meant.out)))
        self.notes += meant.notes
        self.start = Start(self.folder)
        self.step = 0

    @property
    def scores(self) -> bool:
        """Does the command leave results?"""
        return self.command in ("fit", "test")

    @property
    def scored_checkpoint(self) -> Path | None:
        """The checkpoint that results are of; None for a model as it is merged."""
        return self.meant.checkpoint if self.command == "test" else self.folder.last_checkpoint

    @property
    def resumed_checkpoint(self) -> Path | None:
        """The checkpoint that a fit goes on from; None if it begins anew, and for all others."""
        return self.start.checkpoint if self.command == "fit" else None

    def choose_folder(self, folder: RunFolder) -> RunFolder:
        """Choose the folder to write to: a fit keeps its own, and a trial disturbs no run."""
        if self.command == "test" and folder.holds_fit:
            self.notes.append(
                f"{folder.path} holds a fit, whose results stay: the test's go to "
                f"{folder.test.path}."
            )
            folder = folder.test
        if self.is_trial and self.scores and folder.state is not RunState.EMPTY:
            self.is_scratch = True
            scratch = self._held.enter_context(tempfile.TemporaryDirectory(prefix="wemoe-pl-"))
            self.notes.append(f"{folder.path} stays as it is: nothing of this trial is kept.")
            folder = RunFolder(Path(scratch))
        return folder

    def enter(self, recipe: Mapping[str, Any]) -> None:
        """Find out how the command begins, and keep other processes from the folder.

        A finished run is not locked, since nothing of it is written.

        Args:
            recipe: the resolved config of the command.

        Raises:
            WeMoEError: see `find_start` and `held`.
        """
        wanted = self.folder
        given = self.meant.checkpoint if self.command == "fit" else None
        if self.scores:
            self.start = find_start(wanted, recipe, given, self.is_fresh)
            shown = self.start.finished is not None and self.start.replaces is None
            if shown and not is_unfinished(wanted):
                return
        if self.is_first and not wanted.path.exists():
            self._held.callback(remove_if_empty, wanted.path)
        make_folder(wanted.path)
        if self.is_first:
            self._held.enter_context(held(wanted.lock, wanted.path))
            is_done = recover(wanted) and not difference(wanted.config, recipe)
            if self.scores:
                self.start = find_start(wanted, recipe, given, self.is_fresh and not is_done)
        self.folder = self.start.folder
        if self.resumed_checkpoint is not None:
            self.step = read_checkpoint(self.resumed_checkpoint)["global_step"]

    def compare(self, identity: Identity) -> Identity:
        """Compare the run with what is in the folder; the same with what it went on from.

        What `--fresh` had built of another is let go of.

        Raises:
            AlreadyFinished: it is the same, and has come to its end.
            ConfigError: it is another, or was made by another version of the program.
        """
        try:
            identity = compare_with_start(self.start, identity)
        except ConfigError:
            if self.start.replaces is None:
                raise
            self.start = Start(self.folder, self.start.replaces)
        if self.start.finished is not None:
            self.put_in_place()
            raise AlreadyFinished(self.folder, self.start.finished)
        self.notes += [f"This run is not made of one piece. {part}" for part in identity.history]
        self.identity = identity
        return identity

    def begin(self) -> None:
        """Let go of what an earlier run has left: only now, so that a mistake costs nothing."""
        if not self.is_first:
            return
        if self.start.replaces is not None and not self.start.goes_on:
            shutil.rmtree(self.folder.path, ignore_errors=True)  # of another config, not finished
        self.folder.remove_leftovers()
        if self.command == "fit":
            self.folder.let_go(keep_checkpoint=self.start.goes_on)

    def facts(self) -> dict[str, Any]:
        """The part of `results.json` on the run, the checkpoint that was scored, and the time."""
        assert self.identity is not None
        scored, checkpoint = None, self.scored_checkpoint
        if checkpoint is not None and not self.is_trial:  # of which no checkpoint is kept
            step = read_checkpoint(checkpoint)["global_step"]
            scored = {"sha256": digest(checkpoint), "step": step}
        facts = {RECORD: self.identity.of_results, "checkpoint": scored, "finished": now()}
        return facts | ({TRIAL: True} if self.is_trial else {})

    def put_in_place(self) -> None:
        """Let a run that was built by `--fresh` take the place of the old one."""
        if self.start.replaces is not None:
            if self.is_first:
                replace_by_next(self.start.replaces)
            self.folder = self.start.replaces

    def close(self) -> None:
        """Let go of the lock of the folder."""
        self._held.close()


def remove_if_empty(folder: Path) -> None:
    """Remove a folder in which nothing was left, as by a command that failed before its work."""
    with suppress(OSError):
        folder.rmdir()


@contextmanager
def writing_to(out: Path) -> Iterator[None]:
    """Keep other processes from a folder while a block writes there, and make it first.

    What killed processes were writing there is removed.

    Raises:
        WeMoEError: another process writes there, or nothing can be written.
    """
    folder = RunFolder(out)
    with held(folder.lock, make_folder(out)):
        folder.remove_leftovers()
        yield


def trial_of_sweep(out: Path) -> Path:
    """A folder of its own for every trial of an agent's sweep, which all have the same `--out`."""
    sweep, trial = (os.environ.get(name) for name in SWEEP_VARIABLES)
    return out / trial if sweep and trial and out.name != trial else out
