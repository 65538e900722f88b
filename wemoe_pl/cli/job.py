"""A job: LightningCLI in which one suite serves model and data, one folder per run, and results."""

import logging
import shlex
import sys
import warnings
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import (
    ArgsType,
    LightningArgumentParser,
    LightningCLI,
)
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from lightning.pytorch.utilities import rank_zero_info
from rich.console import Console

import wemoe_pl
from wemoe_pl.callbacks.collapse_guard import CollapseGuard
from wemoe_pl.callbacks.curves import Curves
from wemoe_pl.callbacks.last_checkpoint import LastCheckpoint
from wemoe_pl.callbacks.predictions import Predictions
from wemoe_pl.callbacks.processes import EndTogether, Requeue, end_others, is_first_process
from wemoe_pl.cli.job_config import (
    SaveConfig,
    checked_seed,
    checkpoints_in,
    loggers_of,
    restricted,
)
from wemoe_pl.cli.launchers import Launcher, launcher
from wemoe_pl.cli.options import (
    CONFIG,
    FRESH,
    FRESH_OPTION,
    JOB_OPTIONS,
    QUIET,
    QUIET_OPTION,
    values_of,
)
from wemoe_pl.cli.parser import ShippedConfig, WeMoEParser, explain
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import name_some
from wemoe_pl.errors import ConfigError
from wemoe_pl.merging import NOT_ADAPTED
from wemoe_pl.preflight.settings import check_fit
from wemoe_pl.reporting.dashboard import Dashboard, resumed_run
from wemoe_pl.reporting.loggers import MetricsFile, RunLogger, identity
from wemoe_pl.reporting.plots.run import write_pictures
from wemoe_pl.reporting.results import collect_results, write_results
from wemoe_pl.reporting.summary import accuracy_table, write_summary
from wemoe_pl.runs.checkpoint import read_checkpoint
from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.runs.identity import Identity
from wemoe_pl.runs.own import meant_run
from wemoe_pl.runs.partial import PARTIAL, check_limits, what_was_scored, what_was_validated
from wemoe_pl.runs.session import AlreadyFinished, Session
from wemoe_pl.system.configs import ALLOW
from wemoe_pl.system.files import digest
from wemoe_pl.system.trust import check_parts, only_allowed
from wemoe_pl.training.module import MultiTaskModule

# A config may name every public class, of which a parser knows those that have been imported.
PUBLIC = [getattr(wemoe_pl, name) for name in wemoe_pl.__all__]
COMMAND_KEYS = ("ckpt_path", "weights_only", "verbose", "return_predictions", "quiet", "fresh")
DEFAULT_CALLBACKS = [{"class_path": "wemoe_pl.StepProgressBar"}]
DEFAULT_LOGGER = {"class_path": "wemoe_pl.MetricsFile"}


class WeMoECLI(LightningCLI):
    """LightningCLI in which one `suite` serves the model and the data, and one `out` every file.

    Attributes:
        session: what the command does with the folder of the run; None for a verb.
    """

    session: Session | None = None

    def __init__(self, **kwargs: Any):
        try:
            super().__init__(**kwargs)
        except AlreadyFinished as found:
            self.show(found)
        finally:
            if self.session is not None:
                self.session.close()

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """A parser that knows the shipped configs."""
        parser = WeMoEParser(allow_abbrev=False, **kwargs)
        parser.add_argument(*CONFIG, action=ShippedConfig)
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the keys that model, data and trainer share, and link them."""
        parser.add_argument("--suite", type=Suite)
        for name, option in JOB_OPTIONS.items():
            parser.add_argument(f"--{name}", **vars(option))
        if parser is self.parser:  # of a verb: a run's config has these too
            for key in COMMAND_KEYS:
                parser.add_argument(f"--{key}", type=str | bool | None, default=None)
        else:
            parser.add_argument(*QUIET, **QUIET_OPTION)
            parser.add_argument(FRESH, **FRESH_OPTION)
        for part in ("model", "data"):
            chosen = ("suite", "tasks", "unseen")
            parser.link_arguments(chosen, f"{part}.init_args.suite", compute_fn=restricted)
            parser.link_arguments("task", f"{part}.init_args.task")
        parser.link_arguments("seed_everything", "data.init_args.seed", compute_fn=checked_seed)
        parser.add_lightning_class_args(LastCheckpoint, "checkpoint")
        parser.link_arguments("out", "checkpoint.dirpath", compute_fn=checkpoints_in)
        parser.add_lightning_class_args(CollapseGuard, "guard")
        parser.add_lightning_class_args(Dashboard, "dashboard")
        parser.add_lightning_class_args(Predictions, "predictions")
        parser.link_arguments("out", "predictions.folder")
        parser.link_arguments("out", "trainer.default_root_dir")
        parser.link_arguments("out", "trainer.logger.init_args.save_dir")  # if it is one, no list
        parser.set_defaults(
            {
                "seed_everything": 0,
                "trainer.devices": 1,
                "trainer.callbacks": DEFAULT_CALLBACKS,
                "trainer.logger": DEFAULT_LOGGER,
                "trainer.enable_model_summary": False,
                "trainer.num_sanity_val_steps": 0,
                "trainer.log_every_n_steps": 10,
                "trainer.check_val_every_n_epoch": None,
            }
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, and look at the folder of the run before anything else."""
        self.arguments = [str(argument) for argument in args] if isinstance(args, list) else []
        super().parse_arguments(parser, args)
        settings = self.config.get(self.config.get("subcommand"), self.config)
        self.only_tell(logging.WARNING if settings.quiet else logging.INFO)
        if settings.get("weights_only") is False:
            raise ConfigError(
                "weights_only is false, which would run whatever a checkpoint contains: leave it "
                "out."
            )
        check_parts(settings, values_of(self.arguments, ALLOW))
        if self.config.get("subcommand"):
            self.subcommand = self.config.subcommand
            check_limits(settings.trainer, self.subcommand)
            self.enter_folder()

    def before_instantiate_classes(self) -> None:
        """Let loggers write to the run's folder, and the bar be drawn only where it is wanted."""
        trainer = self.settings.trainer
        if not self.subcommand:  # a verb only prepares, maybe where there is no GPU
            trainer.accelerator, trainer.devices, trainer.precision = "cpu", 1, None
            trainer.strategy, trainer.plugins, trainer.logger = "auto", None, False
        for logger in loggers_of(trainer):
            self.prepare_logger(logger)
        if self.settings.quiet:
            trainer.enable_progress_bar = False
        if trainer.enable_progress_bar is False and isinstance(trainer.callbacks, list):
            bar = DEFAULT_CALLBACKS[0]["class_path"]  # Lightning refuses one that is not enabled
            trainer.callbacks = [c for c in trainer.callbacks if c.class_path != bar]

    def instantiate_classes(self) -> None:
        """Instantiate, with one sentence for a value that a class refuses."""
        started = launcher()
        try:
            super().instantiate_classes()
        except (ValueError, ImportError, MisconfigurationException) as error:
            raise ConfigError(explain(str(error))) from error
        if self.subcommand:
            check_processes(self.trainer, started)
            self.compare_with_folder()
        for logger in self.trainer.loggers:
            if isinstance(logger, RunLogger):
                first_step = self.start_step if self.goes_on else 0
                logger.identify(self.place_on_dashboard, first_step)

    def enter_folder(self) -> None:
        """Lock the run's folder, and find the checkpoint that the command is about.

        This comes before all else: where the run has finished, there is only one line to say.
        """
        settings, command = self.settings, str(self.subcommand)
        self.anew, settings.fresh = settings.fresh, False  # whoever repeats the run need not say it
        recipe = self.recipe
        meant = meant_run(
            command,
            values_of(self.arguments, *CONFIG),
            recipe,
            is_out_given=bool(values_of(self.arguments, "--out")),
            is_checkpoint_given=bool(values_of(self.arguments, "--ckpt_path")),
        )
        settings.ckpt_path = meant.checkpoint and str(meant.checkpoint)
        self.session = Session(
            command,
            meant.out,
            is_first=is_first_process(),
            is_trial=bool(settings.trainer.fast_dev_run),
        )
        self.session.notes += meant.notes
        self.session.enter(recipe, meant.checkpoint if command == "fit" else None, self.anew)
        self.write_to(self.session.folder.path)
        if self.goes_on:
            settings.ckpt_path = None  # the folder has it, wherever that is moved to
        self.start_step, self.start_run = 0, None
        if self.start:
            checkpoint = read_checkpoint(self.start)
            self.start_step, self.start_run = checkpoint["global_step"], resumed_run(checkpoint)
            of = f"step {self.start_step} of {settings.trainer.max_steps}"
            rank_zero_info(f"Going on from {of}: {self.start}")
        if self.session.start.finished is not None:
            self.only_tell(logging.WARNING)

    def only_tell(self, level: int) -> None:
        """Let Lightning tell nothing below a level."""
        for name in ("lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(level)

    def write_to(self, folder: Path) -> None:
        """Let all parts write into a folder, as if it had been given as `--out`."""
        settings = self.settings
        settings.out = settings.predictions.folder = str(folder)
        settings.trainer.default_root_dir = str(folder)
        settings.checkpoint.dirpath = checkpoints_in(folder)

    def compare_with_folder(self) -> None:
        """Compare the config, the weights and the images of the run with those in its folder."""
        assert self.session is not None
        if self.session.scores:
            with warnings.catch_warnings():
                if self.session.start.finished is not None:  # when it ran, they were told
                    warnings.simplefilter("ignore")
                self.identity = self.session.compare(self.identity_of_run)
            self.only_tell(logging.WARNING if self.settings.quiet else logging.INFO)
            self.config_init[self.subcommand].checkpoint.identity = self.identity
        for note in self.session.notes:
            rank_zero_info(note)

    @property
    def identity_of_run(self) -> Identity:
        """What the run belongs to."""
        command, scored = str(self.subcommand), self.settings.ckpt_path
        return Identity(
            command=command,
            recipe=self.recipe,
            images=self.datamodule.identities(command),
            sources=self.model.frozen_sources,
            checkpoint=digest(Path(scored)) if scored and command == "test" else None,
        )

    def show(self, found: AlreadyFinished) -> None:
        """Say that there is nothing to run, and print what there is."""
        if is_first_process():
            print(found.told, file=sys.stderr, flush=True)
            self.console.print(accuracy_table(found.results))

    @property
    def start(self) -> Path | None:
        """The checkpoint that a fit goes on from."""
        if self.session is None or self.subcommand != "fit":
            return None
        return self.session.start.checkpoint

    @property
    def goes_on(self) -> bool:
        """Is it the run of this folder, and not another, that a fit goes on with?"""
        return self.session is not None and self.session.start.goes_on

    def prepare_logger(self, logger: Namespace) -> None:
        """Let a logger write into the folder of the run, wherever its config is from."""
        if "save_dir" in logger.init_args:
            logger.init_args.save_dir = str(self.out)
        if logger.class_path.rpartition(".")[2] == MetricsFile.__name__:
            logger.init_args.version = self.log_folder

    @property
    def place_on_dashboard(self) -> dict[str, Any]:
        """Where the run appears among others; a resumed one in its own place."""
        found = identity(self.settings.as_dict(), str(self.subcommand))
        return found | ({"id": self.start_run} if self.start else {})

    @property
    def log_folder(self) -> str:
        """Where below `logs` this command's own go, if a fit's are there already."""
        beside = self.subcommand != "fit" and RunFolder(self.out).last_checkpoint.is_file()
        return str(self.subcommand) if beside else ""

    @property
    def curves(self) -> Curves:
        """What was logged, by step."""
        callbacks: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        return next(each for each in callbacks if isinstance(each, Curves))

    @property
    def console(self) -> Console:
        """Where tables go."""
        return Console(quiet=self.settings.quiet)

    @property
    def settings(self) -> Namespace:
        """The parsed config, of the subcommand if there is one."""
        return self.config[self.subcommand] if self.subcommand else self.config

    @property
    def out(self) -> Path:
        """The folder of the run."""
        return Path(self.settings.out)

    def before_fit(self) -> None:
        """Refuse a task that no part asks for, and an interval of 0; go on, or make room."""
        self.config_init[self.subcommand].ckpt_path = self.start and str(self.start)
        check_fit(self.model, self.settings.task, self.settings.trainer.val_check_interval)
        assert self.session is not None
        self.session.begin()

    def before_validate(self) -> None:
        """Keep Lightning's table, a column per loader, out of the way of ours."""
        self.config_init[self.subcommand].verbose = False

    def before_test(self) -> None:
        """See `before_validate`; let go of what a killed test has left."""
        self.before_validate()
        assert self.session is not None
        self.session.begin()

    def after_validate(self) -> None:
        """Print the table."""
        if self.trainer.is_global_zero:
            model: MultiTaskModule = self.model
            accuracy = model.scores.accuracy()
            suite = {"suite": model.suite.name, "note": model.suite.note}
            partial = what_was_scored(self.trainer)
            method = model.method + (PARTIAL if partial else "")
            scored = {"method": method, "tasks": list(accuracy), "accuracy": accuracy}
            told = {**suite, **scored, "partial": partial, "reference": {}}
            self.console.print(accuracy_table(told))
            self.close_loggers()

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

    def after_test(self) -> None:
        """Write the pictures, `results.json` and `summary.md`, and print the table."""
        if not self.trainer.is_global_zero:
            return
        model: MultiTaskModule = self.model
        results = collect_results(model, self.settings.seed_everything, self.datamodule.corruption)
        results["command"] = shlex.join(["wemoe-pl", *self.arguments])
        init = self.config_init[self.subcommand]
        results |= self.facts_of_run
        results["method"] += PARTIAL if results["partial"] else ""
        if self.subcommand == "fit":
            results["guard"] = init.guard.report
        folder = RunFolder(self.out)
        pictures = write_pictures(self.out, model, results, self.curves.points)
        write_summary(folder.summary, results, [path.name for path in pictures])
        init.dashboard.finish(self.trainer, model, results, pictures, self.curves.points)
        self.close_loggers()
        write_results(folder.results, results)  # last: it says that the run is finished
        assert self.session is not None
        self.session.put_in_place()
        self.console.print(accuracy_table(results))
        if not self.session.is_scratch:
            self.console.print(f"Results are in {self.session.folder.path}", highlight=False)

    @property
    def facts_of_run(self) -> dict[str, Any]:
        """What `results.json` says of the run itself, and of what part of it was made."""
        assert self.session is not None
        if self.subcommand == "test":
            scored = Path(given) if (given := self.settings.ckpt_path) else None
        else:
            scored = RunFolder(self.out).last_checkpoint
        return {
            **self.session.facts(self.identity, scored),
            "partial": what_was_scored(self.trainer),
            "curves": what_was_validated(self.trainer),
        }

    def before_predict(self) -> None:
        """Look for answers that an earlier start of the same command has left."""
        assert self.session is not None
        self.session.begin()
        init = self.config_init[self.subcommand]
        init.return_predictions = False  # they are on the disk
        answered = init.predictions.begin(self.question, self.anew)
        self.datamodule.answered = answered
        if answered:
            batches = len(self.datamodule.batches_to_classify)
            rank_zero_info(f"Going on: {len(answered)} of {batches} batches are answered already")

    @property
    def question(self) -> dict[str, Any]:
        """All that determines what `predict` answers."""
        recipe, images, checkpoint = self.recipe, self.datamodule, self.settings.ckpt_path
        return {
            "model": [recipe[key] for key in ("model", "suite", "task", "tasks", "unseen")],
            "precision": recipe["trainer"]["precision"],
            "checkpoint": checkpoint and digest(Path(checkpoint)),
            "sources": self.model.frozen_sources,
            "images": [images.images, images.to_classify.fingerprint],
            "batch_size": images.test_batch_size,
        }

    def after_predict(self) -> None:
        """Write the table of answers, in the order of the images."""
        self.trainer.strategy.barrier()
        if not self.trainer.is_global_zero:
            return
        predictions, images = self.config_init[self.subcommand].predictions, self.datamodule
        answers, unreadable = predictions.finish(images.batches_to_classify)
        by = f", by {self.model.method}" if self.model.method.endswith(NOT_ADAPTED) else ""
        self.console.print(f"{answers} predictions are in {predictions.path}{by}", highlight=False)
        if unreadable:
            logging.getLogger("lightning.pytorch").warning(
                f"{len(unreadable)} of {len(images.to_classify)} images cannot be read, and have "
                f"rows that say why: {name_some(unreadable)}."
            )

    def close_loggers(self) -> None:
        """Let W&B send what it still has."""
        for logger in self.trainer.loggers:
            if isinstance(logger, RunLogger):
                logger.close()

    @property
    def recipe(self) -> dict[str, Any]:
        """The resolved config, as plain values."""
        dumped = self.parser.dump(self.config, skip_unset=False)
        return yaml.safe_load(dumped)[self.subcommand]


def read_job(
    args: list[str],
    run: bool = True,
    kind: type[WeMoECLI] = WeMoECLI,
) -> WeMoECLI:
    """Parse a job, and run it or only instantiate it."""
    with only_allowed(values_of(args, ALLOW)):
        return kind(
            model_class=LightningModule,
            datamodule_class=LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            trainer_defaults={"callbacks": [Curves(), EndTogether(), Requeue()]},
            save_config_callback=SaveConfig,
            save_config_kwargs={"save_to_log_dir": False},
            args=args,
            run=run,
        )


def check_processes(trainer: Trainer, started: Launcher | None) -> None:
    """Raise `ConfigError` unless all processes of a run are there from its beginning.

    Args:
        trainer: which says how many there should be.
        started: what has started them, if Lightning is not to.
    """
    if started is not None:
        started.check(trainer.num_devices, trainer.num_nodes)
    if isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
        raise ConfigError(
            "trainer.strategy begins its processes in the middle of a run, which does not hear "
            "from them what they scored: choose ddp."
        )
