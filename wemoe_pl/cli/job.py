"""A job: LightningCLI in which one suite serves model and data, one folder per run, and results."""

import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_info

from wemoe_pl.callbacks.curves import Curves
from wemoe_pl.callbacks.lightning_private import starts_processes_midway
from wemoe_pl.callbacks.processes import EndTogether, Requeue, end_others, is_first_process
from wemoe_pl.callbacks.progress_lines import ProgressLines
from wemoe_pl.callbacks.validation_schedule import ValidationSchedule
from wemoe_pl.cli.job_config import SaveConfig, check_trusted, hide_bar, use_one_cpu
from wemoe_pl.cli.job_keys import add_job_keys
from wemoe_pl.cli.job_loggers import begin_logging, place_loggers
from wemoe_pl.cli.job_predictions import skip_answered, write_answers
from wemoe_pl.cli.job_start import compare_with_folder, enter_folder, session_of
from wemoe_pl.cli.launchers import Launcher, launcher
from wemoe_pl.cli.options import CONFIG, values_of
from wemoe_pl.cli.parser import ShippedConfig, WeMoEParser
from wemoe_pl.cli.parser_errors import explain_report
from wemoe_pl.errors import ConfigError
from wemoe_pl.export.loading import results_of
from wemoe_pl.preflight.settings import check_fit
from wemoe_pl.reporting.finishing import close_loggers, finish_run, validation_tables
from wemoe_pl.reporting.summary import run_tables
from wemoe_pl.runs.meant_run import scored_run_of
from wemoe_pl.runs.partial import check_limits
from wemoe_pl.runs.results_schema import thresholds_of
from wemoe_pl.runs.session import AlreadyFinished, Session
from wemoe_pl.system.configs import ALLOW
from wemoe_pl.system.console import Console
from wemoe_pl.system.terminal import say
from wemoe_pl.system.trust import only_allowed
from wemoe_pl.training.merged_module import MergedModule


class WeMoECLI(LightningCLI):
    """LightningCLI in which one `suite` serves the model and the data, and one `out` every file.

    It builds them on a CPU, for commands that need no trainer; `RunCLI` runs them.

    Args:
        args: the command line, without the name of the program.
        run: does it begin with a subcommand?
    """

    def __init__(self, args: Sequence[str], run: bool = False):
        self.arguments = [str(argument) for argument in args]
        super().__init__(
            model_class=LightningModule,
            datamodule_class=LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            trainer_defaults={
                "callbacks": [
                    ValidationSchedule(),
                    Curves(),
                    EndTogether(),
                    Requeue(),
                    ProgressLines(),
                ]
            },
            save_config_callback=SaveConfig,
            save_config_kwargs={"save_to_log_dir": False},
            args=self.arguments,
            run=run,
        )

    @property
    def settings(self) -> Namespace:
        """The parsed config, of the subcommand if there is one."""
        return self.config[self.config.subcommand] if "subcommand" in self.config else self.config

    @property
    def out(self) -> Path:
        """The folder of the run."""
        return Path(self.settings.out)

    def init_parser(self, **options: Any) -> LightningArgumentParser:
        """Make a parser that knows the shipped configs."""
        parser = WeMoEParser(allow_abbrev=False, **options)
        parser.add_argument(*CONFIG, action=ShippedConfig)
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the keys that model, data and trainer share, and link them."""
        add_job_keys(parser, is_of_verb=parser is self.parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, and refuse what could run a stranger's code."""
        super().parse_arguments(parser, args)
        only_tell(logging.WARNING if self.settings.quiet else logging.INFO)
        check_trusted(self.settings, values_of(self.arguments, ALLOW))

    def before_instantiate_classes(self) -> None:
        """Build on a CPU, whatever devices the job is for."""
        use_one_cpu(self.settings.trainer)
        hide_bar(self.settings)

    def instantiate_trainer(self, **options: Any) -> Trainer:
        """Make the trainer, with one sentence for a value of a type that it does not take."""
        try:
            return super().instantiate_trainer(**options)
        except TypeError as error:
            raise ConfigError(f"trainer: {error}") from error

    def instantiate_classes(self) -> None:
        """Instantiate, with one sentence for a value that a class refuses."""
        try:
            super().instantiate_classes()
        except (ValueError, ImportError, MisconfigurationException) as error:
            raise ConfigError(explain_report(str(error))) from error


class RunCLI(WeMoECLI):
    """A job that is run: fit, validate, test or predict, each in the folder of its run."""

    def __init__(self, args: Sequence[str]):
        self._session: Session | None = None
        try:
            super().__init__(args, run=True)
        except AlreadyFinished as finished:
            if is_first_process():
                say(finished.sentence, file=sys.stderr)
                self.console.print(*run_tables(finished.results), sep="\n")
        finally:
            if self._session is not None:
                self._session.close()

    @property
    def session(self) -> Session:
        """The use that the command makes of the folder, once its arguments are parsed."""
        assert self._session is not None
        return self._session

    @property
    def recipe(self) -> dict[str, Any]:
        """The resolved config, as plain values."""
        # It was validated when it was parsed: again would take longer than a short run.
        dumped = self.parser.dump(self.config, skip_unset=False, skip_validation=True)
        return dict(yaml.safe_load(dumped)[self.config.subcommand])

    @property
    def console(self) -> Console:
        """The place where tables are printed, if any is wanted."""
        return Console(quiet=self.settings.quiet)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, and look at the folder of the run before anything else."""
        super().parse_arguments(parser, args)
        command, settings = self.config.subcommand, self.settings
        check_limits(settings.trainer, command)
        is_fresh, settings.fresh = settings.fresh, False  # whoever repeats the run need not say it
        recipe = self.recipe
        self._session = session_of(command, self.arguments, recipe, is_fresh)
        enter_folder(self._session, settings, recipe)
        if self._session.start.finished is not None:
            only_tell(logging.WARNING)

    def before_instantiate_classes(self) -> None:
        """Let loggers write to the run's folder, and the bar be drawn only where it is wanted."""
        place_loggers(self.settings, self.session.command)
        hide_bar(self.settings)

    def instantiate_classes(self) -> None:
        """Instantiate, and see that all processes are there."""
        started = launcher()
        super().instantiate_classes()
        check_processes(self.trainer, started)

    def after_instantiate_classes(self) -> None:
        """Compare the run with the one in its folder, and let loggers go on where it does."""
        compare_with_folder(self.session, self.recipe, self.trainer, self.model, self.datamodule)
        only_tell(logging.WARNING if self.settings.quiet else logging.INFO)
        for note in self.session.notes:
            rank_zero_info(note)
        begin_logging(self.trainer.loggers, self.settings, self.session)

    def begin(self, **arguments: Any) -> None:
        """Let go of what an earlier run has left, and hand arguments to the trainer's method."""
        self.config_init[self.subcommand].update(Namespace(arguments))
        self.session.begin()

    def before_fit(self) -> None:
        """Refuse a task that no part asks for and an interval of 0; go on, or make room."""
        interval, images = self.settings.trainer.val_check_interval, self.datamodule.batch_size
        check_fit(self.model, self.settings.task, interval, images)
        start = self.session.resumed_checkpoint
        self.begin(ckpt_path=start and str(start))

    def after_fit(self) -> None:
        """Export what was trained, then score it."""
        if self.trainer.is_global_zero:
            try:
                self.model.export(self.out, self.recipe, self.settings.seed_everything)
            except BaseException:  # the others are on their way to the test
                end_others(self.trainer)
                raise
        self.trainer.test(self.model, datamodule=self.datamodule, verbose=False)
        self.after_test()

    def before_validate(self) -> None:
        """Keep Lightning's table, a column per loader, out of the way of ours."""
        self.config_init[self.subcommand].verbose = False

    def after_validate(self) -> None:
        """Print the table."""
        if self.trainer.is_global_zero:
            tables = validation_tables(self.trainer, self.model, self.datamodule)
            self.console.print(*tables, sep="\n")
            close_loggers(self.trainer.loggers)

    def before_test(self) -> None:
        """Keep Lightning's table out of the way, and let go of what a killed test has left."""
        self.begin(verbose=False)

    def after_test(self) -> None:
        """Write the pictures, `results.json` and `summary.md`, and print the table."""
        if self.trainer.is_global_zero:
            run = self.trainer, self.model, self.datamodule, self.session
            command = shlex.join(["wemoe-pl", *self.arguments])
            results = finish_run(*run, self.settings.seed_everything, command)
            self.console.print(*run_tables(results), sep="\n")
            if not self.session.is_scratch:
                self.console.print(f"Results are in {self.session.folder.path}")

    def before_predict(self) -> None:
        """Leave out what is answered already; answers are kept on the disk."""
        self.begin(return_predictions=False)
        if isinstance(self.model, MergedModule):
            used, configs = self.session.meant.checkpoint, values_of(self.arguments, *CONFIG)
            about = configs, self.recipe, self.model.frozen_sources
            scored = results_of(used) if used else scored_run_of(*about)
            self.model.thresholds = thresholds_of(scored)
        images, is_fresh = self.datamodule.to_classify, self.session.is_fresh
        skip_answered(self.trainer, self.model, images, self.recipe, is_fresh)

    def after_predict(self) -> None:
        """Write the table of answers, when all processes have answered."""
        self.trainer.strategy.barrier()
        if self.trainer.is_global_zero:
            write_answers(self.trainer, self.model, self.datamodule.to_classify, self.console)


def build_job(args: Sequence[str], kind: type[WeMoECLI] = WeMoECLI) -> WeMoECLI:
    """Parse a job, and build its parts without running anything."""
    with only_allowed(values_of(args, ALLOW)):
        return kind(args)


def run_job(args: Sequence[str]) -> None:
    """Parse a job, and run it by the command that its arguments begin with."""
    build_job(args, RunCLI)


def only_tell(level: int) -> None:
    """Let Lightning log nothing below a level."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(level)


def check_processes(trainer: Trainer, started: Launcher | None) -> None:
    """Raise `ConfigError` unless all processes of a run are there from its beginning.

    Args:
        trainer: which says how many there should be.
        started: what has started them, if Lightning is not to.
    """
    if started is not None:
        started.check(trainer.num_devices, trainer.num_nodes)
    if starts_processes_midway(trainer):
        raise ConfigError(
            "trainer.strategy begins its processes in the middle of a run, which does not hear "
            "from them what they scored: choose ddp."
        )
