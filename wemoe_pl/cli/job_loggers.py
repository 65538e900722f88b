"""Tell the loggers of a job where they write, which run they log, and from which step on."""

from collections.abc import Iterable
from pathlib import Path

from jsonargparse import Namespace
from lightning.pytorch.loggers import Logger

from wemoe_pl.cli.job_config import let_log_to, loggers_of
from wemoe_pl.reporting.dashboard import resumed_run
from wemoe_pl.reporting.loggers import MetricsFile, RunLogger, identity
from wemoe_pl.runs.checkpoint import read_checkpoint
from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.runs.session import Session


def place_loggers(config: Namespace, command: str | None) -> None:
    """Make loggers write into the folder of the run, wherever their config is from.

    If the folder holds a fit, the metrics file of another command goes into a folder of its own.
    `predict` has no loggers, and so starts no run on a dashboard.
    """
    if command == "predict":
        config.trainer.logger = False
    is_beside = command != "fit" and RunFolder(Path(config.out)).last_checkpoint.is_file()
    let_log_to(config.out, config.trainer)
    for logger in loggers_of(config.trainer):
        if logger.class_path.rpartition(".")[2] == MetricsFile.__name__:
            logger.init_args.version = str(command) if is_beside else ""


def begin_logging(loggers: Iterable[Logger], config: Namespace, session: Session) -> None:
    """Tell loggers which run they log, and from which step on if it is resumed."""
    start = session.resumed_checkpoint
    run = resumed_run(read_checkpoint(start)) if start else None
    place = identity(config.as_dict(), session.command) | {"id": run}
    for logger in loggers:
        if isinstance(logger, RunLogger):
            logger.identify(place, session.step if session.start.goes_on else 0)
