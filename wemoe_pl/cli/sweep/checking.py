"""Read the configs of all points of a sweep before the first point runs."""

import re
import warnings
from collections.abc import Collection, Sequence

from wemoe_pl.cli.job import build_job
from wemoe_pl.cli.job_read import ReadCLI
from wemoe_pl.cli.sweep.grid import folder_name
from wemoe_pl.cli.sweep.points import Point
from wemoe_pl.errors import ConfigError, WeMoEError
from wemoe_pl.preflight.settings import check_fit
from wemoe_pl.runs.partial import check_limits
from wemoe_pl.training.scoring import check_asks_experts
from wemoe_pl.training.shown_metrics import LabelFreeScore

NOTHING_RUN = "No point was run."


def check_configs(points: Collection[Point], score: LabelFreeScore | None = None) -> None:
    """Read the config of every point, and build its parts, without reading any weights or images.

    Args:
        points: the points of the sweep.
        score: the score that settings will be chosen by, if any.

    Raises:
        ConfigError: a point could not be run, or would lack the score; the sentence names the key
            of the grid that is wrong.
    """
    for point in points:
        fault = fault_of(point.command, score)
        if not fault:
            continue
        guilty = [key for key in point.settings if not fault_of(without(key, point), score)]
        if len(guilty) == 1:
            raise ConfigError(f"{blame(fault, guilty[0], point.settings[guilty[0]])} {NOTHING_RUN}")
        # The fault is in the job itself, or in values that are each right but do not go together.
        place = f"The point {folder_name(point.settings)} cannot be run: " if guilty else ""
        raise ConfigError(f"{place}{fault} {NOTHING_RUN}")


def fault_of(command: Sequence[str], score: LabelFreeScore | None = None) -> str:
    """Return why a command would refuse its config, or lack a score; "" if it would do neither."""
    verb, *arguments = command
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the run repeats them in its log
            job = build_job(arguments, ReadCLI)
        trainer = job.settings.trainer
        check_limits(trainer, verb)
        if verb == "fit":
            interval, images = trainer.val_check_interval, job.datamodule.batch_size
            check_fit(job.model, job.settings.task, interval, images)
        if score == "agreement":
            check_asks_experts(job.model, "--select")
    except WeMoEError as error:
        return str(error)
    return ""


def without(key: str, point: Point) -> list[str]:
    """Return the command of a point without the value that the grid gives a key."""
    value = point.settings[key]
    if key != "config":
        return [word for word in point.command if word != f"--{key}={value}"]
    place = len(point.command) - 1 - point.command[::-1].index(value)
    return [*point.command[: place - 1], *point.command[place + 1 :]]


def blame(fault: str, key: str, value: str) -> str:
    """Return a fault in the words of the grid: with whole keys, as they are written there.

    >>> blame("There is no key 'lamda'. Did you mean 'init_lambda'?", "model.merge.lamda", "1")
    "--grid: there is no key 'model.merge.lamda'. Did you mean 'model.merge.init_lambda'?"
    >>> blame("router_depth is 7: choose 0, 1 or 2.", "model.merge.router_depth", "7")
    '--grid model.merge.router_depth=7: router_depth is 7: choose 0, 1 or 2.'
    """
    unknown = re.match(r"There is no key '([\w.-]+)'\.", fault)
    if not unknown or not key.endswith(end := unknown[1]):
        return f"--grid {key}={value}: {fault}"
    sentence = f"--grid: there is no key '{key}'."
    if not (meant := re.search(r"Did you mean '(--)?(\S+)'\?", fault)):
        return f"{sentence}{fault[unknown.end() :]}"
    # A suggestion that begins with dashes is a whole key, as on a command line.
    known = meant[2] if meant[1] else f"{key.removesuffix(end)}{meant[2]}"
    return f"{sentence} Did you mean '{known}'?"
