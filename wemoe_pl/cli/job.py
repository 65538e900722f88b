"""Parse, build and run a job: a LightningCLI with one suite and one folder for each run."""

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
from wemoe_pl.runs.results_schema import measured_in
from wemoe_pl.runs.session import AlreadyFinished, Session
from wemoe_pl.system.configs import ALLOW
from wemoe_pl.system.console import Console
from wemoe_pl.system.terminal import say
from wemoe_pl.system.trust import only_allowed
from wemoe_pl.training.merged_module import MergedModule


class WeMoECLI(LightningCLI):
    """A `WeMoECLI` parses and builds a job whose parts share one `suite` and one folder, `out`.

    It builds the job on a CPU, for commands that need no trainer. `RunCLI` also runs it.

    Args:
        args: the command line, without the name of the program.
        run: True if the command line begins with a subcommand.
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
        """Return the parsed config; that of the subcommand, if there is one."""
        return self.config[self.config.subcommand] if "subcommand" in self.config else self.config

    @property
    def out(self) -> Path:
        """Return the folder of the run."""
        return Path(self.settings.out)

    def init_parser(self, **options: Any) -> LightningArgumentParser:
        """Make a parser that finds shipped configs by name."""
        parser = WeMoEParser(allow_abbrev=False, **options)
        parser.add_argument(*CONFIG, action=ShippedConfig)
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the keys that model, data and trainer share, and link them."""
        add_job_keys(parser, is_of_verb=parser is self.parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the arguments, and refuse a config that could run a stranger's code."""
        super().parse_arguments(parser, args)
        only_tell(logging.WARNING if self.settings.quiet else logging.INFO)
        check_trusted(self.settings, values_of(self.arguments, ALLOW))

    def before_instantiate_classes(self) -> None:
        """Set the trainer to one CPU, whatever devices the job is for."""
        use_one_cpu(self.settings.trainer)
        hide_bar(self.settings)

    def instantiate_trainer(self, **options: Any) -> Trainer:
        """Make the trainer; raise one sentence for a value of a type that it does not take."""
        try:
            return super().instantiate_trainer(**options)
        except TypeError as error:
            raise ConfigError(f"trainer: {error}") from error

    def instantiate_classes(self) -> None:
        """Build the parts of the job; raise one sentence for a value that a class refuses."""
        try:
            super().instantiate_classes()
        except (ValueError, ImportError, MisconfigurationException) as error:
            raise ConfigError(explain_report(str(error))) from error


class RunCLI(WeMoECLI):
    """A `RunCLI` runs a job, by fit, validate, test or predict, in the folder of its run."""

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

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # knows the command
        """Return the chosen command alone: to build the parsers of the others takes time."""
        known = super().subcommands()
        chosen = self.arguments[:1]
        return {name: known[name] for name in chosen if name in known} or known

    @property
    def session(self) -> Session:
        """Return the session of the command in its folder; the arguments must have been parsed."""
        assert self._session is not None
        return self._session

    @property
    def recipe(self) -> dict[str, Any]:
        """Return the resolved config, as plain values."""
        # The config was validated by the parser; a second time would take longer than a short run.
        dumped = self.parser.dump(self.config, skip_unset=False, skip_validation=True)
        return dict(yaml.safe_load(dumped)[self.config.subcommand])

    @property
    def console(self) -> Console:
        """Return the console that tables are printed to; for a quiet job it prints nothing."""
        return Console(quiet=self.settings.quiet)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the arguments, and look at the folder of the run before anything else."""
        super().parse_arguments(parser, args)
        command, settings = self.config.subcommand, self.settings
        check_limits(settings.trainer, command)
        is_fresh, settings.fresh = settings.fresh, False  # not part of the config of the run
        recipe = self.recipe
        self._session = session_of(command, self.arguments, recipe, is_fresh)
        enter_folder(self._session, settings, recipe)
        if self._session.start.finished is not None:
            only_tell(logging.WARNING)

    def before_instantiate_classes(self) -> None:
        """Make loggers write to the run's folder, and remove a progress bar that is not wanted."""
        place_loggers(self.settings, self.session.command)
        hide_bar(self.settings)

    def instantiate_classes(self) -> None:
        """Build the parts of the job, and check that all processes of the run were started."""
        started = launcher()
        super().instantiate_classes()
        check_processes(self.trainer, started)

    def after_instantiate_classes(self) -> None:
        """Compare the run with the one in its folder, and tell loggers where it begins."""
        compare_with_folder(self.session, self.recipe, self.trainer, self.model, self.datamodule)
        only_tell(logging.WARNING if self.settings.quiet else logging.INFO)
        for note in self.session.notes:
            rank_zero_info(note)
        begin_logging(self.trainer.loggers, self.settings, self.session)

    def begin(self, **arguments: Any) -> None:
        """Remove what an earlier run has left, and set arguments of the trainer's method."""
        self.config_init[self.subcommand].update(Namespace(arguments))
        self.session.begin()

    def before_fit(self) -> None:
        """Check the settings of the fit, and begin it, from a checkpoint if the run is resumed."""
        interval, images = self.settings.trainer.val_check_interval, self.datamodule.batch_size
        check_fit(self.model, self.settings.task, interval, images)
        start = self.session.resumed_checkpoint
        self.begin(ckpt_path=start and str(start))

    def after_fit(self) -> None:
        """Export the trained model, then score it."""
        if self.trainer.is_global_zero:
            try:
                self.model.export(self.out, self.recipe, self.settings.seed_everything)
            except BaseException:  # the other processes go on to the test, and would wait there
                end_others(self.trainer)
                raise
        self.trainer.test(self.model, datamodule=self.datamodule, verbose=False)
        self.after_test()

    def before_validate(self) -> None:
        """Turn off Lightning's table, which has a column per loader; we print our own."""
        self.config_init[self.subcommand].verbose = False

    def after_validate(self) -> None:
        """Print the table of scores."""
        if self.trainer.is_global_zero:
            tables = validation_tables(self.trainer, self.model, self.datamodule)
            self.console.print(*tables, sep="\n")
            close_loggers(self.trainer.loggers)

    def before_test(self) -> None:
        """Turn off Lightning's table, and remove what a killed test has left."""
        self.begin(verbose=False)

    def after_test(self) -> None:
        """Write the figures, `results.json` and `summary.md`, and print the table."""
        if self.trainer.is_global_zero:
            run = self.trainer, self.model, self.datamodule, self.session
            command = shlex.join(["wemoe-pl", *self.arguments])
            results = finish_run(*run, self.settings.seed_everything, command)
            self.console.print(*run_tables(results), sep="\n")
            if not self.session.is_scratch:
                self.console.print(f"Results are in {self.session.folder.path}")

    def before_predict(self) -> None:
        """Leave out images that were answered before; answers are kept on disk."""
        self.begin(return_predictions=False)
        if isinstance(self.model, MergedModule):
            used, configs = self.session.meant.checkpoint, values_of(self.arguments, *CONFIG)
            about = configs, self.recipe, self.model.frozen_sources
            scored = results_of(used) if used else scored_run_of(*about)
            self.model.measured = measured_in(scored)
        images, is_fresh = self.datamodule.to_classify, self.session.is_fresh
        skip_answered(self.trainer, self.model, images, self.recipe, is_fresh)

    def after_predict(self) -> None:
        """Write the table of answers, after all processes have answered."""
        self.trainer.strategy.barrier()
        if self.trainer.is_global_zero:
            write_answers(self.trainer, self.model, self.datamodule.to_classify, self.console)


def build_job(args: Sequence[str], kind: type[WeMoECLI] = WeMoECLI) -> WeMoECLI:
    """Parse a job, and build its parts without running anything."""
    with only_allowed(values_of(args, ALLOW)):
        return kind(args)


def run_job(args: Sequence[str]) -> None:
    """Parse a job, and run the command that its arguments begin with."""
    build_job(args, RunCLI)


def only_tell(level: int) -> None:
    """Make Lightning log nothing below a level."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(level)


def check_processes(trainer: Trainer, started: Launcher | None) -> None:
    """Raise `ConfigError` unless all processes of a run are there from its beginning.

    Args:
        trainer: the trainer, which says how many processes there should be.
        started: the launcher that has started the processes; None if Lightning starts them.
    """
    if started is not None:
        started.check(trainer.num_devices, trainer.num_nodes)
    if starts_processes_midway(trainer):
        raise ConfigError(
            "trainer.strategy starts its processes in the middle of a run, which does not get "
            "their scores: choose ddp."
        )
