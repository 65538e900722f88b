"""Manage the use of a run's folder by a command, from the lock to the results."""

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
# By these variables an agent of Weights & Biases tells a command its sweep and its trial.
SWEEP_VARIABLES = ("WANDB_SWEEP_ID", "WANDB_RUN_ID")


class AlreadyFinished(Exception):  # noqa: N818 (it is no error)
    """`AlreadyFinished` says that there is nothing to run, since the same run has finished.

    Args:
        folder: the folder of the run.
        results: the results of the run.
    """

    def __init__(self, folder: RunFolder, results: Mapping[str, Any]):
        super().__init__(f"{folder.path} holds this run already")
        self.folder = folder
        self.results = results

    @property
    def sentence(self) -> str:
        """Return one line that says when the run has finished, and by which version."""
        then = self.results.get("finished")
        if then is None:  # written by a version that did not note it
            then = time_in_words(self.folder.results.stat().st_mtime)
        version = self.results["versions"]["wemoe_pl"]
        return f"Nothing was run: this run was finished {then} by wemoe-pl {version}."


class Session:
    """A session is the use that one command makes of the folder of a run.

    Args:
        command: the command that uses the folder.
        meant: the folder and the checkpoint that it was given.
        is_first: True in the first process of the command, which alone locks and writes.
        is_trial: True if the command is only tried out (`fast_dev_run`).
        is_fresh: True if the command begins anew, whatever is there.

    Attributes:
        folder: the folder that the command writes to.
        start: the way in which it begins there.
        step: the number of steps of a fit that are done already.
        identity: the identity of the run, once it was compared with what is there.
        is_scratch: True if the folder is not kept.
        notes: the remarks on all this for the user.
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
        """Return whether the command leaves results."""
        return self.command in ("fit", "test")

    @property
    def scored_checkpoint(self) -> Path | None:
        """Return the checkpoint that results are of; None for a model as it is merged."""
        return self.meant.checkpoint if self.command == "test" else self.folder.last_checkpoint

    @property
    def resumed_checkpoint(self) -> Path | None:
        """Return the checkpoint that a fit goes on from; None for a new fit and other commands."""
        return self.start.checkpoint if self.command == "fit" else None

    def choose_folder(self, folder: RunFolder) -> RunFolder:
        """Choose the folder to write to: a test spares the results of a fit, a trial any run."""
        if self.command == "test" and folder.holds_fit:
            self.notes.append(
                f"{folder.path} holds a fit, whose results are kept: the results of this test go "
                f"to {folder.test.path}."
            )
            folder = folder.test
        if self.is_trial and self.scores and folder.state is not RunState.EMPTY:
            self.is_scratch = True
            scratch = self._held.enter_context(tempfile.TemporaryDirectory(prefix="wemoe-pl-"))
            self.notes.append(f"{folder.path} is left unchanged: results of a trial are not kept.")
            folder = RunFolder(Path(scratch))
        return folder

    def enter(self, recipe: Mapping[str, Any]) -> None:
        """Find out how the command begins, and keep other processes from the folder.

        A finished run is not locked, since nothing is written to it.

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
        """Compare a run with what the folder holds; return it with what it went on from.

        If `--fresh` had begun to build another run, it begins anew.

        Raises:
            AlreadyFinished: the folder holds the same run, which has come to its end.
            ConfigError: the folder holds another run, or one of another version of the program.
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
        self.notes += [f"This run was changed midway. {part}" for part in identity.history]
        self.identity = identity
        return identity

    def begin(self) -> None:
        """Remove what an earlier run has left: only now, so that a mistake costs nothing."""
        if not self.is_first:
            return
        if self.start.replaces is not None and not self.start.goes_on:
            shutil.rmtree(self.folder.path, ignore_errors=True)  # unfinished, and of another config
        self.folder.remove_leftovers()
        if self.command == "fit":
            self.folder.let_go(keep_checkpoint=self.start.goes_on)

    def facts(self) -> dict[str, Any]:
        """Return the part of `results.json` on the run, the scored checkpoint, and the time."""
        assert self.identity is not None
        scored, checkpoint = None, self.scored_checkpoint
        if checkpoint is not None and not self.is_trial:  # a trial keeps no checkpoint
            step = read_checkpoint(checkpoint)["global_step"]
            scored = {"sha256": digest(checkpoint), "step": step}
        facts = {RECORD: self.identity.of_results, "checkpoint": scored, "finished": now()}
        return facts | ({TRIAL: True} if self.is_trial else {})

    def put_in_place(self) -> None:
        """Put a run that was built by `--fresh` in the place of the old one."""
        if self.start.replaces is not None:
            if self.is_first:
                replace_by_next(self.start.replaces)
            self.folder = self.start.replaces

    def close(self) -> None:
        """Release the lock of the folder, and remove a folder that is scratch or left empty."""
        self._held.close()


def remove_if_empty(folder: Path) -> None:
    """Remove a folder if it is empty, for example because a command failed before its work."""
    with suppress(OSError):
        folder.rmdir()


@contextmanager
def writing_to(out: Path) -> Iterator[None]:
    """Make a folder, and keep other processes from it while the block writes there.

    Files that killed processes were writing there are removed.

    Raises:
        WeMoEError: another process writes there, or nothing can be written.
    """
    folder = RunFolder(out)
    with held(folder.lock, make_folder(out)):
        folder.remove_leftovers()
        yield


def trial_of_sweep(out: Path) -> Path:
    """Return a folder for each trial of an agent's sweep, whose trials all have one `--out`."""
    sweep, trial = (os.environ.get(name) for name in SWEEP_VARIABLES)
    return out / trial if sweep and trial and out.name != trial else out
