"""The resolved config of a job: what is linked and checked in it, and where it is written."""

from pathlib import Path

import yaml
from jsonargparse import Namespace
from lightning import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

from wemoe_pl.data.suite import restriction
from wemoe_pl.errors import ConfigError
from wemoe_pl.reporting.media import media_loggers
from wemoe_pl.runs.folder import CONFIG_HEADER, RunFolder, where_it_ends
from wemoe_pl.system.files import atomic_write


class SaveConfig(SaveConfigCallback):
    """Writes the resolved config to the run's folder, and to the loggers that show it."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write `config.yaml`, from which the run can be repeated.

        What `--fresh` builds belongs to the folder whose place it takes.
        """
        folder = RunFolder(Path(trainer.default_root_dir))
        dumped = self.parser.dump(as_it_ends(self.config, folder), skip_unset=False)
        for logger in media_loggers(trainer.loggers):
            logger.log_hyperparams(yaml.safe_load(dumped))
        if stage in ("fit", "test"):
            with atomic_write(folder.config) as temporary:
                temporary.write_text(f"{CONFIG_HEADER}.\n{dumped}", encoding="utf-8")


def as_it_ends(config: Namespace, folder: RunFolder) -> Namespace:
    """The config of a run, in the folder that it will lie in when it has finished."""
    final = str(where_it_ends(folder.path))
    if final == str(folder.path):
        return config
    config = config.clone()
    config.out = final
    for logger in loggers_of(config.trainer):
        if "save_dir" in logger.init_args:
            logger.init_args.save_dir = final
    return config


def loggers_of(trainer: Namespace) -> list[Namespace]:
    """The configs of a trainer's loggers: none, one or several."""
    several = trainer.logger if isinstance(trainer.logger, list) else [trainer.logger]
    return [logger for logger in several if isinstance(logger, Namespace)]


def checkpoints_in(out: str | Path) -> str:
    """The folder of the checkpoints of a run."""
    return str(RunFolder(Path(out)).checkpoints)


def checked_seed(seed: bool | int) -> int:
    """The seed, of which `results.json` and the order of the images speak."""
    if isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise ConfigError(
            f"seed_everything is {seed}: give a number from 0 to {2**32 - 1}, so that the run can "
            "be repeated."
        )
    return seed


def restricted(suite: Namespace, tasks: list[str] | None, unseen: list[str]) -> Namespace:
    """The config of a suite with the tasks that were chosen, and without the unseen experts."""
    if not suite or suite.get("tasks") is None:
        return suite  # none was given, of which the parser complains better
    return Namespace({**vars(suite), **restriction(suite, tasks, unseen)})
