"""Log a run to a CSV file, and define how loggers are told which run they log."""

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
    """A `RunLogger` is told by the job which run it logs, and when the run has ended."""

    def identify(self, identity: Mapping[str, Any], first_step: int = 0) -> None:
        """Tell the logger where the run appears among others, and the first step it logs."""

    def close(self) -> None:
        """Write what was not written yet."""


class MetricsFile(Logger):
    """A `MetricsFile` logs all metrics, and nothing else, to `logs/metrics.csv`.

    Lines are added to the file. When a killed run is resumed from a checkpoint, its lines after
    that checkpoint are dropped, so that every step is there once.

    Args:
        save_dir: the folder of the run.
        version: a folder below `logs`; by default `logs` itself.

    Attributes:
        path: the file that is written.
        first_step: the step before which lines in the file are kept; by default none is kept.
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
        """Return the name of the folder of all versions."""
        return self.path.parent.name if not self._version else self.path.parent.parent.name

    @property
    def version(self) -> str:
        """Return the folder below `logs`; "" if the file is in `logs` itself."""
        return self._version

    def identify(self, identity: Mapping[str, Any], first_step: int = 0) -> None:
        """Keep the lines before a step; the identity is not used, as the folder tells the run.

        Raises:
            CheckpointError: the file is damaged; this is found out before the run begins.
        """
        rows_before(self.path, first_step)
        self.first_step = first_step

    def close(self) -> None:
        """Do nothing: every line is written when it is logged."""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """Do nothing: hyperparameters are in `config.yaml`."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Add a line after the lines that are kept of an earlier start.

        It replaces a line of the same metrics and step, which an interrupted validation has left.
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
        """Drop the lines after the step that a run resumes from, if it has logged nothing yet.

        Otherwise a run that resumes from its next checkpoint, of a later step, would keep them.
        """
        if self._rows is None and self.first_step and self.path.is_file():
            self._rows = rows_before(self.path, self.first_step)
            self.write_all()

    def write_all(self) -> None:
        """Write the whole file again, with a column for every metric."""
        rows = self._rows or []
        self._columns = sorted({STEP_COLUMN, *(key for row in rows for key in row)})
        with atomic_write(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(rows)


def identity(settings: Mapping[str, Any], command: str) -> dict[str, Any]:
    """Return the group, job type and tags of a run among others, from its resolved config."""
    suite, model = settings["suite"], settings["model"]
    merge = (model.get("init_args") or {}).get("merge") or {}
    method = (merge.get("class_path") or model["class_path"]).rpartition(".")[2]
    kind = model["class_path"].rpartition(".")[2]
    return {
        "group": suite["name"],
        "job_type": JOB_TYPES.get(kind, command) if command == "fit" else command,
        "tags": [suite["backbone"]["model"], method],
    }
