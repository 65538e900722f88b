"""Weights & Biases as a logger, which may neither ask for anything nor stop a run."""

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
PROJECT = "wemoe-pl"  # where nothing else is said
# The environment variables of W&B that are not called as the arguments of `wandb.init` are.
VARIABLES = {"group": "WANDB_RUN_GROUP", "id": "WANDB_RUN_ID"}


class WandbRun(WandbLogger):
    """Lightning's logger of Weights & Biases, which neither asks for anything nor stops a run.

    Without an API key it records offline, and says how to send the run later. The same where the
    server does not answer when the run begins. What fails afterwards is warned of once, and the
    run goes on without the dashboard. What is given here comes before the environment variables
    of W&B, and these before its defaults.

    Args:
        save_dir: the folder of the run; records go below `wandb` in it.
        project: in which the run appears; by default "wemoe-pl".
        kwargs: whatever else `WandbLogger` and `wandb.init` take.
    """

    def __init__(self, save_dir: str = ".", project: str | None = None, **kwargs: Any):
        project = project or environment_of("project") or PROJECT
        super().__init__(save_dir=save_dir, project=project, **kwargs)
        self._wandb_init["settings"] = with_defaults(self._wandb_init.get("settings"))
        self._wandb_init.pop("anonymous")  # of which W&B warns that it has no effect any more
        self._wandb_init["dir"] = kwargs.get("dir") or environment_of("dir") or save_dir
        if "resume" not in kwargs and environment_of("resume"):
            self._wandb_init.pop("resume")
        self.failed = False

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run, which is begun when it is first asked for."""
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
                tell_offline(run, "it was told to be")
        return self._experiment

    def identify(self, identity: Mapping[str, Any], first_step: int = 0) -> None:
        """Say where the run appears among others, as far as that was not said before.

        Args:
            identity: arguments of `wandb.init`.
            first_step: W&B itself goes on from the step that a run has reached.
        """
        for name, value in identity.items():
            if self._wandb_init.get(name) is None and not environment_of(name):
                self._wandb_init[name] = value

    def begin_offline(self, reason: str) -> Any:
        """Record in files only, and say why."""
        self._wandb_init["mode"] = "offline"
        run = super().experiment
        tell_offline(run, reason)
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
        except failures() as error:
            self.failed = True
            rank_zero_only(warn)(f"The run goes on without W&B, which failed: {one_line(error)}")


def environment_of(name: str) -> str | None:
    """Look up the environment variable of W&B that stands for an argument of `wandb.init`."""
    return os.environ.get(VARIABLES.get(name, f"WANDB_{name.upper()}"))


def failures() -> tuple[type[Exception], ...]:
    """Return what goes wrong with a server, a proxy, or the process that talks to them."""
    return (wandb.errors.Error, OSError, RuntimeError, ValueError)


def with_defaults(given: "wandb.Settings | Mapping[str, Any] | None") -> "wandb.Settings":
    """Complete settings of W&B by our defaults, where nothing else says what they are."""
    settings = given if isinstance(given, wandb.Settings) else wandb.Settings(**(given or {}))
    for name, value in {**TIMEOUTS, "silent": True}.items():
        if name not in settings.model_fields_set and not environment_of(name):
            setattr(settings, name, value)
    return settings


def tell_offline(run: Any, reason: str) -> None:
    """Say why a run is recorded in files only, and how all of its folders are sent later.

    Every start of a run that is resumed has a folder of its own.
    """
    folder = where_it_ends(Path(run.dir).parent)
    rank_zero_info(f"W&B is offline: {reason}. Send the run later: wandb sync {sync_path(folder)}")


def sync_path(folder: Path) -> str:
    """The folder of an offline run as a shell takes it, with those of its earlier starts."""
    pattern = f"offline-run-*-{folder.name.rpartition('-')[2]}"
    starts = list(folder.parent.glob(pattern))
    parent = shlex.quote(str(folder.parent))
    return f"{parent}/{pattern if len(starts) > 1 else folder.name}"


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
