"""Log runs to Weights & Biases, which may neither ask for anything nor stop a run."""

import os
import shlex
from argparse import Namespace
from collections.abc import Callable, Mapping
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import wandb
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from wemoe_pl.runs.folder import where_it_ends
from wemoe_pl.system.warn import warn

SERVER = "https://api.wandb.ai"
# Seconds that a server which does not answer may hold up a run: when it begins, and when it ends.
TIMEOUTS = {"init_timeout": 30.0, "finish_timeout": 60.0}
PROJECT = "wemoe-pl"  # the default project
# The environment variables of W&B whose names differ from the arguments of `wandb.init`.
VARIABLES = {"group": "WANDB_RUN_GROUP", "id": "WANDB_RUN_ID"}


class WandbRun(WandbLogger):
    """A `WandbRun` logs to Weights & Biases, and neither asks for anything nor stops a run.

    Without an API key, or if the server does not answer when the run begins, it records offline
    and says how to send the run later. The first failure after that is warned of, and the run goes
    on without the dashboard. Arguments take precedence over the environment variables of W&B, and
    these over its defaults.

    Args:
        save_dir: the folder of the run; records go below `wandb` in it.
        project: the project that the run appears in; by default "wemoe-pl".
        kwargs: further arguments of `WandbLogger` and `wandb.init`.
    """

    def __init__(self, save_dir: str = ".", project: str | None = None, **kwargs: Any):
        project = project or environment_of("project") or PROJECT
        super().__init__(save_dir=save_dir, project=project, **kwargs)
        self._wandb_init["settings"] = with_defaults(self._wandb_init.get("settings"))
        self._wandb_init.pop("anonymous")  # W&B warns that it has no effect any more
        self._wandb_init["dir"] = kwargs.get("dir") or environment_of("dir") or save_dir
        if "resume" not in kwargs and environment_of("resume"):
            self._wandb_init.pop("resume")
        self.failed = False

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """Return the run of W&B, which begins when it is first asked for."""
        if self._experiment is None:
            Path(self._wandb_init["dir"]).mkdir(parents=True, exist_ok=True)
            if not (has_key() or mode_is_set() or self._offline or self._wandb_init.get("mode")):
                return self.begin_offline("there is no API key (`wandb login` stores one)")
            try:
                run = super().experiment
            except failures() as error:
                return self.begin_offline(f"the server cannot be used ({one_line(error)})")
            if run.url:
                rank_zero_info(f"W&B shows this run at {run.url}")
            elif run.offline:
                tell_offline(run, "its settings say so")
        return self._experiment

    def identify(self, identity: Mapping[str, Any], first_step: int = 0) -> None:
        """Set where the run appears among others, unless arguments or the environment say it.

        Args:
            identity: arguments of `wandb.init`.
            first_step: the first step; it is not used, since W&B itself knows the step of a run.
        """
        for name, value in identity.items():
            if self._wandb_init.get(name) is None and not environment_of(name):
                self._wandb_init[name] = value

    def begin_offline(self, reason: str) -> Any:
        """Begin the run offline, so that it is recorded in files only, and say why."""
        self._wandb_init["mode"] = "offline"
        run = super().experiment
        tell_offline(run, reason)
        return run

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log metrics, unless logging has failed before."""
        log = super().log_metrics
        self.attempt(lambda: log(metrics, step))

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Log hyperparameters, unless logging has failed before."""
        log = super().log_hyperparams
        self.attempt(lambda: log(params))

    @rank_zero_only
    def close(self) -> None:
        """Send what was not sent yet, as far as the server accepts it before the timeout."""
        self.attempt(lambda: self.experiment.finish())

    def attempt(self, act: Callable[[], object]) -> None:
        """Call a function that uses the run; warn of the first failure, then call none any more."""
        if self.failed:
            return
        try:
            act()
        except failures() as error:
            self.failed = True
            rank_zero_only(warn)(f"The run goes on without W&B, which failed: {one_line(error)}")


def environment_of(name: str) -> str | None:
    """Return W&B's environment variable that stands for an argument of `wandb.init`, if set."""
    return os.environ.get(VARIABLES.get(name, f"WANDB_{name.upper()}"))


def failures() -> tuple[type[Exception], ...]:
    """Return the errors that a server, a proxy, or the process that talks to them can cause."""
    return (wandb.errors.Error, OSError, RuntimeError, ValueError)


def with_defaults(given: "wandb.Settings | Mapping[str, Any] | None") -> "wandb.Settings":
    """Return settings of W&B with our defaults, unless they are given or in the environment."""
    settings = given if isinstance(given, wandb.Settings) else wandb.Settings(**(given or {}))
    for name, value in {**TIMEOUTS, "silent": True}.items():
        if name not in settings.model_fields_set and not environment_of(name):
            setattr(settings, name, value)
    return settings


def tell_offline(run: Any, reason: str) -> None:
    """Say why a run is recorded in files only, and how to send all of its folders later.

    Every start of a resumed run has a folder of its own.
    """
    folder = where_it_ends(Path(run.dir).parent)
    rank_zero_info(f"W&B is offline: {reason}. Send the run later: wandb sync {sync_path(folder)}")


def sync_path(folder: Path) -> str:
    """Return the folder of an offline run for a shell, as a pattern if it has several starts."""
    pattern = f"offline-run-*-{folder.name.rpartition('-')[2]}"
    starts = list(folder.parent.glob(pattern))
    parent = shlex.quote(str(folder.parent))
    return f"{parent}/{pattern if len(starts) > 1 else folder.name}"


def has_key() -> bool:
    """Return whether there is an API key, in the environment or where `wandb login` puts it."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", SERVER)).hostname or ""
    try:
        return netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, NetrcParseError):
        return False


def mode_is_set() -> bool:
    """Return whether the environment sets the mode of W&B, or switches it off."""
    return bool(os.environ.get("WANDB_MODE") or os.environ.get("WANDB_DISABLED"))


def one_line(error: BaseException) -> str:
    """Return the first line of an error's message, without the full stop."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")
