"""The loggers of a run: a CSV file, and others that are told which run it is."""

from argparse import Namespace
from collections.abc import Mapping
from csv import DictWriter
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from wemoe_pl.reporting.metric_rows import STEP_COLUMN, is_again, rows_before
from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.system.files import atomic_write

JOB_TYPES = {
    "TestTimeAdaptation": "adapt",
    "SampleMerging": "merge",
    "ExpertFineTuning": "finetune",
    "MultiTaskTraining": "train",
}


@runtime_checkable
class RunLogger(Protocol):
    """A logger that the job tells which run it is of, and when that has ended."""

    def identify(self, identity: Mapping[str, Any], first_step: int = 0) -> None:
        """Say where the run appears among others, and from which step on it is logged."""

    def close(self) -> None:
        """Write what was not written yet."""


class MetricsFile(Logger):
    """All metrics in `logs/metrics.csv`, and nothing but them.

    Lines are added to the file. What a run that was killed has logged behind the checkpoint from
    which it goes on is dropped, so that every step is there once.

    Args:
        save_dir: the folder of the run.
        version: a folder below `logs`; by default `logs` itself.

    Attributes:
        path: the file.
        first_step: lines in the file that are of earlier steps are kept; by default none is.
    """

    def __init__(self, save_dir: str = ".", version: str = ""):
        super().__init__()
        self.path = RunFolder(Path(save_dir)).logs / version / "metrics.csv"
        self.first_step = 0
        self._version = version
        self._rows: list[dict[str, Any]] | None = None
        self._columns: list[str] = []

    @property
    def name(self) -> str:
        """The name of the folder in which the file, or that of its version, lies."""
        return self.path.parent.name if not self._version else self.path.parent.parent.name

    @property
    def version(self) -> str:
        """The folder below `logs`; empty if the file is in `logs` itself."""
        return self._version

    def identify(self, identity: Mapping[str, Any], first_step: int = 0) -> None:
        """Keep what was logged before a step; the file's folder says which run it is of.

        Raises:
            CheckpointError: what was logged before is damaged, which is found out before the run.
        """
        rows_before(self.path, first_step)
        self.first_step = first_step

    def close(self) -> None:
        """Nothing: every line is written when it is logged."""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """Nothing: they are in `config.yaml`."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Add a line, to what is kept of an earlier run if it is the first.

        It replaces one of the same metrics and step, of a validation that was cut short.
        """
        if self._rows is None:
            self._rows = rows_before(self.path, self.first_step)
        row = {**metrics, "step": len(self._rows) if step is None else step}
        others = [old for old in self._rows if not is_again(row, old)]
        added = len(others) == len(self._rows) and row.keys() <= set(self._columns)
        self._rows = [*others, row]
        if added:
            with self.path.open("a", newline="") as file:
                DictWriter(file, self._columns).writerow(row)
        else:
            self.write_all()

    @rank_zero_only
    def save(self) -> None:
        """Drop what was logged behind the step that is gone on from, if nothing was logged since.

        The next checkpoint is of a later step, and who goes on from that would keep it.
        """
        if self._rows is None and self.first_step and self.path.is_file():
            self._rows = rows_before(self.path, self.first_step)
            self.write_all()

    def write_all(self) -> None:
        """Write the file anew, with a column for every metric."""
        rows = self._rows or []
        self._columns = sorted({STEP_COLUMN, *(key for row in rows for key in row)})
        with atomic_write(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(rows)


def identity(settings: Mapping[str, Any], command: str) -> dict[str, Any]:
    """Return the group, type and tags under which a run appears, from its resolved config."""
    suite, model = settings["suite"], settings["model"]
    merge = (model.get("init_args") or {}).get("merge") or {}
    method = (merge.get("class_path") or model["class_path"]).rpartition(".")[2]
    kind = model["class_path"].rpartition(".")[2]
    return {
        "group": suite["name"],
        "job_type": JOB_TYPES.get(kind, command) if command == "fit" else command,
        "tags": [suite["backbone"]["model"], method],
    }
