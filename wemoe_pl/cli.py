"""`wemoe-pl {fit,validate,test,predict}`: LightningCLI, one folder per run, results at the end."""

import logging
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from rich.console import Console

from wemoe_pl import adapt, data, finetune, miniature  # noqa: F401 (YAML names their classes)
from wemoe_pl.errors import ConfigError, WeMoEError
from wemoe_pl.evaluate import ScoredModule, collect_results, write_results
from wemoe_pl.files import atomic_write, make_folder
from wemoe_pl.finetune import SupervisedTraining
from wemoe_pl.parsing import ShippedConfig, WeMoEParser, explain
from wemoe_pl.report import accuracy_table, plot_routing, write_predictions
from wemoe_pl.suites import Suite

SUBCOMMANDS = {
    "fit": "Adapt or train, then score all test tasks.",
    "validate": "Score all test tasks, without writing results.",
    "test": "Score all test tasks of a static merge, or of a checkpoint given by --ckpt_path.",
    "predict": "Classify the images below --data.images into a CSV of task, class, probability.",
}
DEFAULT_CALLBACKS = [{"class_path": "wemoe_pl.report.StepProgressBar"}]
DEFAULT_LOGGER = {
    "class_path": "lightning.pytorch.loggers.CSVLogger",
    "init_args": {"save_dir": ".", "name": "logs", "version": ""},
}


class SaveConfig(SaveConfigCallback):
    """Writes the resolved config to the run's folder, whatever folder the logger has."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write `config.yaml`, from which the run can be repeated."""
        dumped = self.parser.dump(self.config, skip_unset=False)
        with atomic_write(Path(trainer.default_root_dir) / "config.yaml") as temporary:
            temporary.write_text(dumped)


class WeMoECLI(LightningCLI):
    """LightningCLI in which one `suite` serves the model and the data, and one `out` every file."""

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """A parser that knows the shipped configs and keeps its help short."""
        parser = WeMoEParser(**kwargs)
        parser.add_argument(
            "-c",
            "--config",
            action=ShippedConfig,
            help="YAML file, or the bare name of a shipped one; can be repeated, later ones win.",
        )
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the keys that model, data and trainer share, and link them."""
        parser.add_argument("--suite", type=Suite, help="Models and tasks.")
        parser.add_argument("--task", type=str | None, default=None, help="One task of the suite.")
        parser.add_argument("--out", type=str, default="runs/latest", help="Folder of the run.")
        for part in ("model", "data"):
            parser.link_arguments("suite", f"{part}.init_args.suite")
            parser.link_arguments("task", f"{part}.init_args.task")
        parser.link_arguments("seed_everything", "data.init_args.seed", compute_fn=int)
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.link_arguments("out", "checkpoint.dirpath", compute_fn=checkpoint_folder)
        parser.link_arguments("out", "trainer.default_root_dir")
        parser.link_arguments("out", "trainer.logger.init_args.save_dir")
        parser.set_defaults(
            {
                "seed_everything": 0,
                "checkpoint.save_last": True,
                "checkpoint.save_top_k": 0,
                "trainer.callbacks": DEFAULT_CALLBACKS,
                "trainer.logger": DEFAULT_LOGGER,
                "trainer.enable_model_summary": False,
                "trainer.num_sanity_val_steps": 0,
                "trainer.log_every_n_steps": 10,
                "trainer.check_val_every_n_epoch": None,
            }
        )

    def before_instantiate_classes(self) -> None:
        """Find out now, not after an hour, that the run's folder cannot be written to."""
        make_folder(self.out)

    def instantiate_classes(self) -> None:
        """Instantiate, with one sentence for a value that a class refuses."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            raise ConfigError(explain(str(error))) from error

    @property
    def settings(self) -> Namespace:
        """The parsed config of the subcommand."""
        return self.config[self.subcommand]

    @property
    def out(self) -> Path:
        """The folder of the run."""
        return Path(self.settings.out)

    def after_fit(self) -> None:
        """Export what was trained, then score it."""
        if isinstance(self.model, SupervisedTraining) and self.trainer.is_global_zero:
            self.model.export(self.out, self.recipe, self.settings.seed_everything)
        self.trainer.test(self.model, datamodule=self.datamodule, verbose=False)
        self.after_test()

    def after_test(self) -> None:
        """Write `results.json` and the plots, and print the table."""
        if not self.trainer.is_global_zero:
            return
        model: ScoredModule = self.model
        results = collect_results(model, self.settings.seed_everything)
        write_results(self.out / "results.json", results)
        if model.routing:
            title = f"Routing of {model.method} on {model.suite.name}"
            plot_routing(self.out / "routing.png", model.routing, list(model.suite.experts), title)
        console = Console()
        console.print(accuracy_table(results))
        console.print(f"Results are in {self.out}", highlight=False)

    def after_predict(self) -> None:
        """Write `predictions.csv`."""
        rows = list(chain.from_iterable(self.trainer.predict_loop.predictions))
        path = self.out / "predictions.csv"
        write_predictions(path, rows)
        Console().print(f"{len(rows)} predictions are in {path}", highlight=False)

    @property
    def recipe(self) -> dict[str, Any]:
        """The resolved config, as plain values."""
        dumped = self.parser.dump(self.config, skip_unset=False)
        return yaml.safe_load(dumped)[self.subcommand]


def checkpoint_folder(out: str) -> str:
    """Where a run keeps its checkpoints."""
    return str(Path(out) / "checkpoints")


def main(args: list[str] | None = None) -> int:
    """Run one command; the exit status is 0, or 1 after an error of one sentence."""
    silence_advertisements()
    parser_kwargs = {
        name: {
            "usage": f"wemoe-pl {name} --config CONFIG [--out DIR] [--KEY VALUE ...]",
            "description": about,
        }
        for name, about in SUBCOMMANDS.items()
    }
    try:
        WeMoECLI(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            save_config_callback=SaveConfig,
            save_config_kwargs={"save_to_log_dir": False},
            parser_kwargs=parser_kwargs,
            args=args,
        )
    except WeMoEError as error:
        print(f"wemoe-pl: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"wemoe-pl: {error.filename or 'writing'}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def silence_advertisements() -> None:
    """Drop Lightning's tips about other products, two per run."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logging.getLogger(name).addFilter(lambda record: "💡" not in record.getMessage())
