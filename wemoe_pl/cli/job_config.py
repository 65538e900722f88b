"""Check the resolved config of a job, adjust it to a command, and write it to the run's folder."""

from collections.abc import Sequence
from pathlib import Path

import yaml
from jsonargparse import Namespace
from lightning import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

from wemoe_pl.errors import ConfigError
from wemoe_pl.reporting.media import media_loggers
from wemoe_pl.runs.folder import CONFIG_HEADER, RunFolder, where_it_ends
from wemoe_pl.system.files import atomic_write
from wemoe_pl.system.trust import check_parts

PROGRESS_BAR = "wemoe_pl.StepProgressBar"


class SaveConfig(SaveConfigCallback):
    """`SaveConfig` writes the resolved config to the run's folder, and to loggers that show it."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write `config.yaml`, from which the run can be repeated.

        The config of a run that `--fresh` builds names the folder that the run will replace.
        """
        folder = RunFolder(Path(trainer.default_root_dir))
        config = as_it_ends(self.config, folder)
        # The parser has validated the config already.
        dumped = self.parser.dump(config, skip_unset=False, skip_validation=True)
        for logger in media_loggers(trainer.loggers):
            logger.log_hyperparams(yaml.safe_load(dumped))
        if stage in ("fit", "test"):
            with atomic_write(folder.config) as temporary:
                temporary.write_text(f"{CONFIG_HEADER}.\n{dumped}", encoding="utf-8")


def as_it_ends(config: Namespace, folder: RunFolder) -> Namespace:
    """Return the config of a run with the folder that the run is in after it has finished."""
    final = str(where_it_ends(folder.path))
    if final == str(folder.path):
        return config
    config = config.clone()
    config.out = final
    let_log_to(final, config.trainer)
    return config


def let_log_to(folder: str, trainer: Namespace) -> None:
    """Make the loggers in a trainer's config that write files write them into a folder."""
    for logger in loggers_of(trainer):
        options = logger.get("init_args") or Namespace()  # a logger may take no arguments
        if "save_dir" in options:
            options.save_dir = folder


def loggers_of(trainer: Namespace) -> list[Namespace]:
    """Return the configs of a trainer's loggers: none, one or several."""
    several = trainer.logger if isinstance(trainer.logger, list) else [trainer.logger]
    return [logger for logger in several if isinstance(logger, Namespace)]


def checkpoints_in(out: str | Path) -> str:
    """Return the folder of the checkpoints of a run."""
    return str(RunFolder(Path(out)).checkpoints)


def check_trusted(config: Namespace, allowed: Sequence[str]) -> None:
    """Raise `ConfigError` for a config that could run code that strangers wrote."""
    if config.get("weights_only") is False:
        raise ConfigError(
            "weights_only is false, which would run whatever a checkpoint contains: leave it out."
        )
    check_parts(config, allowed)


def write_to(config: Namespace, folder: Path) -> None:
    """Make all parts write into a folder, as if it had been given as `--out`."""
    config.out = config.predictions.folder = str(folder)
    config.trainer.default_root_dir = str(folder)
    config.checkpoint.dirpath = checkpoints_in(folder)


def use_one_cpu(trainer: Namespace) -> None:
    """Set a trainer to one CPU and no logger: it runs nothing, and there may be no GPU."""
    trainer.accelerator, trainer.devices, trainer.precision = "cpu", 1, None
    trainer.strategy, trainer.plugins, trainer.logger = "auto", None, False


def hide_bar(config: Namespace) -> None:
    """Remove the progress bar if it is off or the job is quiet: Lightning would raise an error."""
    trainer = config.trainer
    if config.quiet:
        trainer.enable_progress_bar = False
    if trainer.enable_progress_bar is False and isinstance(trainer.callbacks, list):
        trainer.callbacks = [c for c in trainer.callbacks if c.class_path != PROGRESS_BAR]
