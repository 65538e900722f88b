"""Define the keys of a job that belong to no part of it, and hand their values to the parts."""

from collections.abc import Mapping

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

import wemoe_pl
from wemoe_pl.callbacks.collapse_guard import CollapseGuard
from wemoe_pl.callbacks.last_checkpoint import LastCheckpoint
from wemoe_pl.callbacks.predictions import Predictions
from wemoe_pl.callbacks.sample_images import SampleImages
from wemoe_pl.cli.job_config import PROGRESS_BAR, checkpoints_in
from wemoe_pl.cli.options import FRESH, FRESH_OPTION, JOB_OPTIONS, QUIET, QUIET_OPTION
from wemoe_pl.data.suite import Suite, restriction
from wemoe_pl.errors import ConfigError
from wemoe_pl.reporting.dashboard import Dashboard

# A config may name every public class; a parser knows only classes that have been imported.
PUBLIC = [getattr(wemoe_pl, name) for name in wemoe_pl.__all__]
# Keys that only some commands have. The config of a run has them too, and verbs read such configs.
COMMAND_KEYS = ("ckpt_path", "weights_only", "verbose", "return_predictions", "quiet", "fresh")
# Keys of parts that have the value of a key of the whole job: see `add_job_keys`.
HANDED_ON = {
    "model.suite": "suite",
    "data.suite": "suite",
    "model.task": "task",
    "data.task": "task",
    "data.seed": "seed_everything",
    "trainer.logger.save_dir": "out",
}
JOB_DEFAULTS = {
    "seed_everything": 0,
    "trainer.devices": 1,
    "trainer.callbacks": [{"class_path": PROGRESS_BAR}],
    "trainer.logger": {"class_path": "wemoe_pl.MetricsFile"},
    "trainer.enable_model_summary": False,
    "trainer.num_sanity_val_steps": 0,
    "trainer.log_every_n_steps": 10,
    "trainer.check_val_every_n_epoch": None,
}


def add_job_keys(parser: LightningArgumentParser, is_of_verb: bool) -> None:
    """Add the keys that model, data and trainer share, and hand their values on to them."""
    parser.add_argument("--suite", type=Suite)
    for name, option in JOB_OPTIONS.items():
        parser.add_argument(f"--{name}", **vars(option))
    if is_of_verb:
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
    parser.add_lightning_class_args(SampleImages, "sample_images")
    parser.link_arguments("out", "trainer.default_root_dir")
    parser.link_arguments("out", "trainer.logger.init_args.save_dir")  # of one logger, not a list
    parser.set_defaults(JOB_DEFAULTS)


def refuse_handed_on(given: Mapping[str, str]) -> None:
    """Raise `ConfigError` for a key that would lose its value, since it gets that of another key.

    A key may be null, or be given the same value as the other one: then nothing is lost.

    Args:
        given: the values by dotted keys, in the short form or with the `init_args` of YAML.
    """
    for key, value in given.items():
        short = key.replace(".init_args", "")
        for part, whole in HANDED_ON.items():
            instead = whole + short.removeprefix(part)
            is_meant = short == part or short.startswith(f"{part}.")
            if is_meant and value not in ("None", "null", given.get(instead)):
                raise ConfigError(
                    f"{key} has the value of '{whole}', and cannot be given by itself: give "
                    f"{instead} instead."
                )


def checked_seed(seed: bool | int) -> int:
    """Return the seed of a run; raise `ConfigError` unless it is a number from 0 to 2³² − 1."""
    if isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise ConfigError(
            f"seed_everything is {seed}: give a number from 0 to {2**32 - 1}, so that the run can "
            "be repeated."
        )
    return seed


def restricted(suite: Namespace, tasks: list[str] | None, unseen: list[str]) -> Namespace:
    """Return the config of a suite with the chosen tasks only, and without the unseen experts."""
    if not suite or suite.get("tasks") is None:
        return suite  # no suite was given, for which the parser has a better error
    return Namespace({**vars(suite), **restriction(suite, tasks, unseen)})
