"""Name the files in the folder of a run, and find out the state of the run."""

import os
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatch
from itertools import count
from pathlib import Path
from typing import Any

from wemoe_pl.checkpoints.peft import ADAPTER_CONFIG, ADAPTER_FILES
from wemoe_pl.errors import CheckpointError
from wemoe_pl.runs.checkpoint import has_ended
from wemoe_pl.runs.results_schema import read_results_file
from wemoe_pl.system.files import LEFTOVER, digest, remove_leftovers

# The first words of a `config.yaml` that this program has written.
CONFIG_HEADER = "# The resolved config of this run, written by wemoe-pl"
PICTURE_NAMES = ("accuracy", "adaptation", "agreement", "confusion", "routing", "routing_share")
# Further files that a run leaves, in addition to those with a property below: see `is_of_run`.
OTHER_FILES = (
    *(f"{picture}.{suffix}" for picture in PICTURE_NAMES for suffix in ("png", "svg")),
    "routing.csv", "encoder.safetensors", "head.safetensors", "heads", "predictions.*",
    ADAPTER_CONFIG, *ADAPTER_FILES,
    "wandb", "lightning_logs", ".replaces", ".*.part*",
)  # fmt: skip
CHECKPOINT = ".ckpt"  # the suffix of what a trainer saves
NEXT = ".next"  # the folder of a run that is to replace the one above it
TRIAL = "fast_dev_run"  # the key in results of a trial, which any run may replace


class RunState(StrEnum):
    """A `RunState` is the state of the folder of a run.

    A run is finished if it has left its results, which it writes last, and if they were scored with
    the checkpoint that lies next to them. It is unfinished if it has kept a checkpoint, and empty
    while it has kept nothing that could be lost. The folder is foreign if its results are damaged,
    or if this program has not written its results or config.
    """

    EMPTY = "empty"
    UNFINISHED = "unfinished"
    FINISHED = "finished"
    FOREIGN = "foreign"


@dataclass(frozen=True)
class RunFolder:
    """A `RunFolder` is the folder of a run at some path, whether or not it is there."""

    path: Path

    @property
    def config(self) -> Path:
        """Return the path of the resolved config, from which the run can be repeated."""
        return self.path / "config.yaml"

    @property
    def results(self) -> Path:
        """Return the path of the figures of the run and their origin, the last file written."""
        return self.path / "results.json"

    @property
    def summary(self) -> Path:
        """Return the path of the page that sums up the run."""
        return self.path / "summary.md"

    @property
    def logs(self) -> Path:
        """Return the folder of `metrics.csv`."""
        return self.path / "logs"

    @property
    def checkpoints(self) -> Path:
        """Return the folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def last_checkpoint(self) -> Path:
        """Return the path of the checkpoint that a fit goes on from, and ends with."""
        return self.checkpoints / "last.ckpt"

    @property
    def images(self) -> Path:
        """Return the folder of some test images to try the model on; a user may add others."""
        return self.path / "images"

    @property
    def sample_list(self) -> Path:
        """Return the path of the list of those images that the run has left."""
        return self.images / ".of-this-run"

    @property
    def next(self) -> "RunFolder":
        """Return the folder in which `--fresh` builds the run that replaces this one."""
        return RunFolder(self.path / NEXT)

    @property
    def test(self) -> "RunFolder":
        """Return the folder for a `test` of this fit, unless it is given another `--out`."""
        return RunFolder(self.path / "test")

    @property
    def place(self) -> Path:
        """Return the folder with all links resolved, so that it has one lock."""
        return self.path.resolve()

    @property
    def lock(self) -> Path:
        """Return the file that is locked while a process writes here.

        It lies next to the folder, since `--fresh` puts another folder in the place of this one,
        or inside if the folder cannot be replaced.
        """
        place = self.place
        return place.with_name(f".{place.name}.lock") if self.can_be_replaced else place / ".lock"

    @property
    def can_be_replaced(self) -> bool:
        """Return whether another folder can take its place, which a mount point prevents."""
        place = self.place
        return not place.is_dir() or (not place.is_mount() and os.access(place.parent, os.W_OK))

    def read_results(self) -> dict[str, Any] | None:
        """Return the contents of `results.json`; None if it is not there.

        Raises:
            CheckpointError: the file is damaged, or another program's.
        """
        return read_results_file(self.results) if self.results.is_file() else None

    @property
    def state(self) -> RunState:
        """Return the state of the folder: finished, unfinished, empty or foreign.

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
        """Return whether results were scored with the present checkpoint, after its last step."""
        if not self.last_checkpoint.is_file():
            return True  # a static merge has none, and a user may have deleted it
        if "checkpoint" not in results:  # written by a version that did not note it
            return has_ended(self.last_checkpoint)
        scored = results["checkpoint"] or {}
        return bool(scored.get("sha256") == digest(self.last_checkpoint))

    @property
    def has_foreign_config(self) -> bool:
        """Return whether there is a `config.yaml` that this program has not written."""
        if not self.config.is_file():
            return False
        with self.config.open(encoding="utf-8", errors="replace") as file:
            return not file.readline().startswith(CONFIG_HEADER)

    @property
    def holds_fit(self) -> bool:
        """Return whether the folder belongs to a fit, whose results no test may replace."""
        if self.last_checkpoint.is_file():
            return True
        results = self.read_results() or {}
        return results.get("run", {}).get("command") == "fit"

    def free_neighbour(self) -> Path:
        """Return the first path of a similar name at which nothing is yet."""
        path = self.path if self.path.name not in ("", "..") else self.place
        numbered = (path.with_name(f"{path.name}-{number}") for number in count(2))
        return next(path for path in numbered if not path.exists())

    def remove_leftovers(self) -> None:
        """Remove the files that a killed process was writing here."""
        for folder in (self.path, self.logs, self.checkpoints, self.images):
            remove_leftovers(folder)

    def let_go(self, keep_checkpoint: bool) -> None:
        """Remove the results of an earlier run, and its checkpoint unless that is to be kept.

        The config of the next run is written only after that, so that neither file is ever taken
        for one of the next run.
        """
        self.results.unlink(missing_ok=True)
        if not keep_checkpoint:
            self.last_checkpoint.unlink(missing_ok=True)


def is_of_run(name: str, folder: RunFolder) -> bool:
    """Return whether a file or folder of this name in the folder is one that a run leaves."""
    if name == folder.test.path.name:  # a folder of images may have this name, too
        return folder.test.config.is_file() or folder.test.results.is_file()
    files, folders = (folder.config, folder.results, folder.summary), (folder.logs, folder.images)
    own = {NEXT, *(path.name for path in (*files, *folders, folder.checkpoints))}
    return name in own or any(fnmatch(name, pattern) for pattern in OTHER_FILES)


def files_of_others(folder: RunFolder) -> list[Path]:
    """Return files and folders here, or among checkpoints and images, that no run has left."""
    here = [path for path in listed(folder.path) if not is_of_run(path.name, folder)]
    weights = [path for path in listed(folder.checkpoints) if path.suffix != CHECKPOINT]
    here += [path for path in weights if not LEFTOVER.fullmatch(path.name)]
    own_images = sample_names(folder)
    return here + [path for path in listed(folder.images) if path.name not in own_images]


def sample_names(folder: RunFolder) -> set[str]:
    """Return the names of a run's own files among the images: those listed, and the list."""
    names = folder.sample_list
    listed_there = names.read_text(encoding="utf-8").splitlines() if names.is_file() else []
    return {names.name, *listed_there}


def listed(folder: Path) -> list[Path]:
    """Return the files and folders in a folder; none if it is not there."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def where_it_ends(path: Path) -> Path:
    """Return the path that a file or folder of a run has when the run has finished.

    >>> where_it_ends(Path("runs/a/.next/logs")).as_posix()
    'runs/a/logs'
    """
    return Path(*(part for part in path.parts if part != NEXT))
