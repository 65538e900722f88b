"""Run the job of `adapt`, in memory or, as a command does, in a folder."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import lightning as L
import yaml
from PIL import Image

from wemoe_pl.callbacks.collapse_guard import CollapseGuard
from wemoe_pl.callbacks.curves import Curves
from wemoe_pl.callbacks.last_checkpoint import IdentityRecord, LastCheckpoint
from wemoe_pl.callbacks.lookup import callbacks_of
from wemoe_pl.callbacks.progress import StepProgressBar
from wemoe_pl.callbacks.validation_schedule import ValidationSchedule
from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.errors import ConfigError, did_you_mean
from wemoe_pl.model.recipe import describe
from wemoe_pl.reporting.finishing import finish_run, scored_results
from wemoe_pl.reporting.loggers import MetricsFile
from wemoe_pl.reporting.plots.run import write_figures
from wemoe_pl.runs.checkpoint import read_checkpoint
from wemoe_pl.runs.folder import CONFIG_HEADER, PICTURE_NAMES, RunFolder
from wemoe_pl.runs.identity import Identity
from wemoe_pl.runs.meant_run import Meant
from wemoe_pl.runs.session import AlreadyFinished, Session
from wemoe_pl.system.files import atomic_write
from wemoe_pl.system.public_names import public_name
from wemoe_pl.training.adapt import TestTimeAdaptation

Outcome = tuple[dict[str, Any], dict[str, Image.Image]]
PLAIN = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class PythonJob:
    """A `PythonJob` runs and scores an adaptation in one process.

    Args:
        module: the module to adapt, or only to score if its merge method is static.
        data: the images.
        data_options: the arguments of `data`, except the suite and the seed.
        steps: the number of optimiser steps.
        seed: the seed of all that is random.
        progress: True to draw a bar.
        options: the arguments of `L.Trainer` that add to those of the job, or replace them.
    """

    module: TestTimeAdaptation
    data: MultiTaskData
    data_options: Mapping[str, Any]
    steps: int
    seed: int
    progress: bool
    options: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Refuse arguments of the trainer that would make it another job."""
        check_trainer_arguments(self.options)
        if "max_steps" in self.options:
            raise ConfigError("The steps are given twice: give `steps`, and leave out `max_steps`.")
        for name in ("devices", "num_nodes"):
            if self.options.get(name, 1) not in (1, "1"):
                raise ConfigError(
                    f"`adapt` runs in one process, on one device: leave out `{name}`, or use "
                    "`wemoe-pl fit`, which shares the images among several."
                )

    @property
    def command(self) -> Literal["fit", "test"]:
        """Return the command that does the same."""
        return "test" if self.module.merge.is_static else "fit"

    def run(self) -> Outcome:
        """Run the job without leaving a file."""
        with TemporaryDirectory(prefix="wemoe-pl-") as scratch:
            folder = Path(scratch)
            trainer = self.trainer(folder, logger=False, enable_checkpointing=False)
            self.fit_and_test(trainer)
            scored = trainer, self.module, self.data
            results = scored_results(*scored, self.command, self.seed)
            points = callbacks_of(trainer, Curves)[0].points
            return results, pictures_of(write_figures(folder, self.module, results, points))

    def run_in(self, out: Path, is_fresh: bool) -> Outcome:
        """Run the job in a folder: begin, go on, or return what a finished run has left there.

        Raises:
            ConfigError: the folder holds another run.
        """
        recipe = self.recipe(out)
        session = Session(self.command, Meant(out, None, []), True, False, is_fresh)
        try:
            session.enter(recipe)
            images, sources = self.data.sets.identities(self.command), self.module.frozen_sources
            identity = session.compare(Identity(self.command, recipe, sources, images))
            self.module.check_frozen(session.resumed_checkpoint)
            return self.run_and_keep(session, identity, recipe)
        except AlreadyFinished as finished:
            self.take(finished.folder)
            return dict(finished.results), pictures_in(finished.folder)
        finally:
            session.close()

    def run_and_keep(
        self, session: Session, identity: Identity, recipe: Mapping[str, Any]
    ) -> Outcome:
        """Run the job, and leave the files that a command would."""
        folder = session.folder
        logger = MetricsFile(str(folder.path))
        logger.identify({}, session.step if session.start.goes_on else 0)
        kept = [LastCheckpoint(str(folder.checkpoints)), IdentityRecord(identity)]
        trainer = self.trainer(folder.path, kept, logger=logger)
        session.begin()
        with atomic_write(folder.config) as temporary:
            text = yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True)
            temporary.write_text(f"{CONFIG_HEADER}.\n{text}", encoding="utf-8")
        start = session.resumed_checkpoint
        self.fit_and_test(trainer, None if start is None else str(start))
        self.module.export(folder.path, recipe, self.seed)
        results = finish_run(trainer, self.module, self.data, session, self.seed)
        return results, pictures_in(session.folder)

    def trainer(
        self, folder: Path, callbacks: Sequence[L.Callback] = (), **defaults: Any
    ) -> L.Trainer:
        """Make the trainer, with the callbacks of the job before those that were given."""
        given = self.options.get("callbacks") or []
        own: list[L.Callback] = [ValidationSchedule(), Curves(), CollapseGuard(), *callbacks]
        bar = [StepProgressBar()] if self.progress else []
        settings = {
            **self.settings,
            **defaults,
            **self.options,
            "callbacks": [*own, *bar, *(given if isinstance(given, list) else [given])],
            "default_root_dir": folder,
        }
        return L.Trainer(**settings, enable_progress_bar=self.progress)

    @property
    def settings(self) -> dict[str, Any]:
        """Return those arguments of the trainer that are plain values."""
        defaults = {
            "max_steps": self.steps,
            "accelerator": "auto",
            "devices": 1,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 10,
        }
        given = {k: v for k, v in self.options.items() if isinstance(v, PLAIN)}
        return {**defaults, **given}

    def fit_and_test(self, trainer: L.Trainer, start: str | None = None) -> None:
        """Adapt, if there is anything to adapt, and score."""
        if self.command == "fit":
            trainer.fit(self.module, self.data, ckpt_path=start)
        trainer.test(self.module, self.data, verbose=False)

    def take(self, folder: RunFolder) -> None:
        """Load the weights that a finished run has learned."""
        self.module.configure_model()
        if self.command == "fit":
            checkpoint = read_checkpoint(folder.last_checkpoint)
            self.module.on_load_checkpoint(checkpoint)
            self.module.load_state_dict(checkpoint["state_dict"], strict=False)

    def recipe(self, out: Path) -> dict[str, Any]:
        """Return the job as a config, in plain values."""
        module = self.module
        return {
            "seed_everything": self.seed,
            "out": str(out),
            "suite": describe(module.suite),
            "model": {
                "class_path": public_name(type(module)),
                "init_args": {"merge": describe(module.merge), **describe(module.options)},
            },
            "data": {
                "class_path": public_name(type(self.data)),
                "init_args": describe(self.data_options),
            },
            "trainer": self.settings | {"default_root_dir": str(out)},
        }


def check_trainer_arguments(names: Iterable[str]) -> None:
    """Raise `ConfigError` for a name that is no argument of `L.Trainer`."""
    known = signature(L.Trainer).parameters
    for name in names:
        if name not in known:
            raise ConfigError(f"A trainer has no argument '{name}'. {did_you_mean(name, known)}")


def pictures_of(files: Sequence[Path]) -> dict[str, Image.Image]:
    """Read the pictures in files, by name, so that they no longer need the files."""
    pictures: dict[str, Image.Image] = {}
    for path in files:
        with Image.open(path) as picture:
            picture.load()
            pictures[path.stem] = picture
    return pictures


def pictures_in(folder: RunFolder) -> dict[str, Image.Image]:
    """Read the pictures that a run has left in its folder."""
    files = [folder.path / f"{name}.png" for name in PICTURE_NAMES]
    return pictures_of([path for path in files if path.is_file()])
