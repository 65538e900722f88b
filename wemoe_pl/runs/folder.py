"""The folder of a run: which file lies there under which name, and what state the run is in."""

import os
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatch
from itertools import count
from pathlib import Path
from typing import Any

from wemoe_pl.errors import CheckpointError
from wemoe_pl.runs.checkpoint import has_ended
from wemoe_pl.runs.results_schema import read_results_file
from wemoe_pl.system.files import LEFTOVER, digest, remove_leftovers

# The first words of a `config.yaml` that this program has written.
CONFIG_HEADER = "# The resolved config of this run, written by wemoe-pl"
PICTURE_NAMES = ("accuracy", "adaptation", "agreement", "confusion", "routing", "routing_share")
# What else a run leaves beside the files that have a property below: see `is_of_run`.
OTHER_FILES = (
    *(f"{picture}.{suffix}" for picture in PICTURE_NAMES for suffix in ("png", "svg")),
    "routing.csv", "encoder.safetensors", "head.safetensors", "heads", "predictions.*",
    "wandb", "lightning_logs", ".replaces", ".*.part*",
)  # fmt: skip
CHECKPOINT = ".ckpt"  # the suffix of what a trainer saves
NEXT = ".next"  # the folder of a run that is to replace the one above it
TRIAL = "fast_dev_run"  # the key of results that stand for nothing, and are in nobody's way


class RunState(StrEnum):
    """The state of the folder of a run.

    A run is finished when it has left its results, the last thing that it writes, and when those
    were scored with the checkpoint that lies beside them. It is unfinished when it has kept a
    checkpoint, and empty while it has kept nothing that could be lost. What this program has not
    written under the names of a run is foreign.
    """

    EMPTY = "empty"
    UNFINISHED = "unfinished"
    FINISHED = "finished"
    FOREIGN = "foreign"


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run at some path, whether or not it is there."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved config, from which the run can be repeated."""
        return self.path / "config.yaml"

    @property
    def results(self) -> Path:
        """The figures of the run, and what made them; the last file that is written."""
        return self.path / "results.json"

    @property
    def summary(self) -> Path:
        """The run on one page."""
        return self.path / "summary.md"

    @property
    def logs(self) -> Path:
        """The folder of `metrics.csv`."""
        return self.path / "logs"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def last_checkpoint(self) -> Path:
        """The checkpoint that a fit goes on from, and that the model is made of in the end."""
        return self.checkpoints / "last.ckpt"

    @property
    def images(self) -> Path:
        """The folder of some test images to try the model on, among which a user may put others."""
        return self.path / "images"

    @property
    def sample_list(self) -> Path:
        """The names of the images there that the run has left."""
        return self.images / ".of-this-run"

    @property
    def next(self) -> "RunFolder":
        """The folder in which `--fresh` builds the run that replaces this one."""
        return RunFolder(self.path / NEXT)

    @property
    def test(self) -> "RunFolder":
        """The folder for what `test` scores of this fit, unless it is given another `--out`."""
        return RunFolder(self.path / "test")

    @property
    def place(self) -> Path:
        """The folder itself, whatever links lead there, so that it has one lock."""
        return self.path.resolve()

    @property
    def lock(self) -> Path:
        """The file that is locked while a process writes here.

        It lies beside the folder, since `--fresh` puts another folder in the place of this one,
        and in it where that cannot be done.
        """
        place = self.place
        return place.with_name(f".{place.name}.lock") if self.can_be_replaced else place / ".lock"

    @property
    def can_be_replaced(self) -> bool:
        """Can another folder be put in the place of this one, which no mount point lets go?"""
        place = self.place
        return not place.is_dir() or (not place.is_mount() and os.access(place.parent, os.W_OK))

    def read_results(self) -> dict[str, Any] | None:
        """The contents of `results.json`; None if it is not there.

        Raises:
            CheckpointError: it is damaged, or another program's.
        """
        return read_results_file(self.results) if self.results.is_file() else None

    @property
    def state(self) -> RunState:
        """Return the state of the folder: its run has finished, has begun, or neither.

        Raises:
            CheckpointError: the checkpoint is damaged.
        """
        try:
            results = self.read_results()
        except CheckpointError:
            return RunState.FOREIGN
        if results is not None and not results.get(TRIAL):
            return RunState.FINISHED if self.belongs_together(results) else RunState.UNFINISHED
        if self.last_checkpoint.is_file():
            return RunState.UNFINISHED
        return RunState.FOREIGN if self.has_foreign_config else RunState.EMPTY

    def belongs_together(self, results: dict[str, Any]) -> bool:
        """Were results scored with the checkpoint that lies here now, after its last step?"""
        if not self.last_checkpoint.is_file():
            return True  # a static merge has none, and who has deleted one keeps the results
        if "checkpoint" not in results:  # of a version that did not note it
            return has_ended(self.last_checkpoint)
        scored = results["checkpoint"] or {}
        return bool(scored.get("sha256") == digest(self.last_checkpoint))

    @property
    def has_foreign_config(self) -> bool:
        """Is there a `config.yaml` that this program has not written?"""
        if not self.config.is_file():
            return False
        with self.config.open(encoding="utf-8", errors="replace") as file:
            return not file.readline().startswith(CONFIG_HEADER)

    @property
    def holds_fit(self) -> bool:
        """Does the folder belong to a fit, whose results no test may replace?"""
        if self.last_checkpoint.is_file():
            return True
        results = self.read_results() or {}
        return results.get("run", {}).get("command") == "fit"

    def free_neighbour(self) -> Path:
        """The first folder of a similar name in which nothing is yet."""
        path = self.path if self.path.name not in ("", "..") else self.place
        numbered = (path.with_name(f"{path.name}-{number}") for number in count(2))
        return next(path for path in numbered if not path.exists())

    def remove_leftovers(self) -> None:
        """Remove what a killed process was writing here."""
        for folder in (self.path, self.logs, self.checkpoints, self.images):
            remove_leftovers(folder)

    def let_go(self, keep_checkpoint: bool) -> None:
        """Remove the results of an earlier run, and its checkpoint unless it is gone on with.

        This comes before the config of the next run is written, so that neither is ever taken for
        one of that.
        """
        self.results.unlink(missing_ok=True)
        if not keep_checkpoint:
            self.last_checkpoint.unlink(missing_ok=True)


def is_of_run(name: str, folder: RunFolder) -> bool:
    """Is a file or folder of this name in the folder one that a run leaves?"""
    if name == folder.test.path.name:  # which a folder of images may be called, too
        return folder.test.config.is_file() or folder.test.results.is_file()
    files, folders = (folder.config, folder.results, folder.summary), (folder.logs, folder.images)
    own = {NEXT, *(path.name for path in (*files, *folders, folder.checkpoints))}
    return name in own or any(fnmatch(name, pattern) for pattern in OTHER_FILES)


def files_of_others(folder: RunFolder) -> list[Path]:
    """The files and folders that no run has left here, nor among its checkpoints and images."""
    here = [path for path in listed(folder.path) if not is_of_run(path.name, folder)]
    weights = [path for path in listed(folder.checkpoints) if path.suffix != CHECKPOINT]
    here += [path for path in weights if not LEFTOVER.fullmatch(path.name)]
    own_images = sample_names(folder)
    return here + [path for path in listed(folder.images) if path.name not in own_images]


def sample_names(folder: RunFolder) -> set[str]:
    """The names of the files among the images here that a run has left; none if none has."""
    names = folder.sample_list
    listed_there = names.read_text(encoding="utf-8").splitlines() if names.is_file() else []
    return {names.name, *listed_there}


def listed(folder: Path) -> list[Path]:
    """The files and folders in a folder; none if it is not there."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def where_it_ends(path: Path) -> Path:
    """The path that a file or folder of a run has when the run has finished.

    >>> where_it_ends(Path("runs/a/.next/logs")).as_posix()
    'runs/a/logs'
    """
    return Path(*(part for part in path.parts if part != NEXT))
