"""The loggers of a run: a CSV file, and Weights & Biases, which may neither ask nor stop it."""

import os
from argparse import Namespace
from collections.abc import Callable, Mapping
from csv import DictWriter
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

import wandb
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only, rank_zero_warn

from wemoe_pl.reporting.metric_rows import is_again, rows_before
from wemoe_pl.runs.folder import RunFolder, where_it_ends
from wemoe_pl.system.files import atomic_write

SERVER = "https://api.wandb.ai"
# Seconds that a server which does not answer may hold up a run: when it begins, and when it ends.
TIMEOUTS = {"init_timeout": 30.0, "finish_timeout": 60.0}
# What goes wrong with a server, a proxy, or the process that talks to them.
FAILURES = (wandb.errors.Error, OSError, RuntimeError, ValueError)
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
        self._columns = sorted({key for row in rows for key in row})
        with atomic_write(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(rows)


class WandbRun(WandbLogger):
    """Lightning's logger of Weights & Biases, which neither asks for anything nor stops a run.

    Without an API key it records offline, and says how to send the run later. The same where the
    server does not answer when the run begins. What fails afterwards is warned of once, and the
    run goes on without the dashboard.

    Args:
        save_dir: the folder of the run; records go below `wandb` in it.
        project: in which the run appears.
        kwargs: whatever else `WandbLogger` and `wandb.init` take.
    """

    def __init__(self, save_dir: str = ".", project: str = "wemoe-pl", **kwargs: Any):
        super().__init__(save_dir=save_dir, project=project, **kwargs)
        settings = self._wandb_init.get("settings") or wandb.Settings()
        if isinstance(settings, Mapping):
            settings = wandb.Settings(**settings)
        for name, value in {**TIMEOUTS, "silent": True}.items():
            if name not in settings.model_fields_set:
                setattr(settings, name, value)
        self._wandb_init["settings"] = settings
        self._wandb_init.pop("anonymous")  # of which W&B warns that it has no effect any more
        self.failed = False

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run, which is begun when it is first asked for."""
        if self._experiment is None:
            Path(self.save_dir or ".").mkdir(parents=True, exist_ok=True)
            if not (has_key() or mode_is_set()):
                return self.begin_offline("there is no API key (`wandb login` stores one)")
            try:
                run = super().experiment
            except FAILURES as error:
                return self.begin_offline(f"the server cannot be used ({one_line(error)})")
            if run.url:
                rank_zero_info(f"W&B shows this run at {run.url}")
        return self._experiment

    def identify(self, identity: Mapping[str, Any], first_step: int = 0) -> None:
        """Say where the run appears among others, as far as that was not said before.

        Args:
            identity: arguments of `wandb.init`.
            first_step: W&B itself goes on from the step that a run has reached.
        """
        for name, value in identity.items():
            if self._wandb_init.get(name) is None:
                self._wandb_init[name] = value

    def begin_offline(self, reason: str) -> Any:
        """Record in files only, and say why."""
        self._wandb_init["mode"] = "offline"
        run = super().experiment
        folder = where_it_ends(Path(run.dir).parent)
        rank_zero_info(f"W&B is offline: {reason}. Send the run later: wandb sync {folder}")
        return run

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log, unless logging has failed before."""
        log = super().log_metrics
        self.attempt(lambda: log(metrics, step))

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Log, unless logging has failed before."""
        log = super().log_hyperparams
        self.attempt(lambda: log(params))

    @rank_zero_only
    def close(self) -> None:
        """Send what was not sent yet, as far as the server takes it in a while."""
        self.attempt(lambda: self.experiment.finish())

    def attempt(self, act: Callable[[], object]) -> None:
        """Do something with the run; once that has failed, which is warned of, nothing any more."""
        if self.failed:
            return
        try:
            act()
        except FAILURES as error:
            self.failed = True
            rank_zero_warn(f"The run goes on without W&B, which failed: {one_line(error)}")


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


def has_key() -> bool:
    """Is there an API key, in the environment or where `wandb login` puts it?"""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", SERVER)).hostname or ""
    try:
        return netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, NetrcParseError):
        return False


def mode_is_set() -> bool:
    """Was W&B told what to do, or switched off?"""
    return bool(os.environ.get("WANDB_MODE") or os.environ.get("WANDB_DISABLED"))


def one_line(error: BaseException) -> str:
    """The first line of an error's message, without the full stop."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")
