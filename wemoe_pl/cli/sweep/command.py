"""Run `wemoe-pl sweep`: a job for every point of a grid, one after another or several at once.

Every point is a command of its own, `wemoe-pl fit --config … --KEY=VALUE …`. A sweep of Weights &
Biases can run the same points, since its agents call the same command with the same keys.
"""

import re
import shlex
from argparse import Namespace
from pathlib import Path

from wemoe_pl.cli.options import given_options, values_of
from wemoe_pl.cli.sweep.grid import combinations, parse_grid
from wemoe_pl.cli.sweep.points import check_points, last_words, make_point
from wemoe_pl.cli.sweep.summary import summarise
from wemoe_pl.cli.sweep.workers import Processes, run_all
from wemoe_pl.cli.verb_parsers import sweep_parser
from wemoe_pl.errors import ConfigError, WeMoEError, at_least
from wemoe_pl.runs.session import writing_to
from wemoe_pl.system.configs import ALLOW
from wemoe_pl.system.terminal import say
from wemoe_pl.system.trust import only_allowed
from wemoe_pl.training.shown_metrics import LabelFreeScore


def sweep(args: list[str], run: Processes | None = None) -> None:
    """Run the grid that the arguments describe, and end in one table.

    Args:
        args: the arguments after `wemoe-pl sweep`.
        run: the runner of commands; by default, each command runs in a process of its own.

    Raises:
        ConfigError: the arguments or the config of a point are wrong, or a folder holds another
            sweep's results. Then nothing is run, and nothing is left behind.
        WeMoEError: some points failed; the others have run.
    """
    options, passed_on = sweep_parser().parse_known_args(args)
    with only_allowed(values_of(passed_on, ALLOW)):
        run_grid(options, passed_on, run or Processes())


def run_grid(options: Namespace, passed_on: list[str], run: Processes) -> None:
    """Run the points of a grid, and end in one table; allowed packages must have been imported."""
    out, score = Path(options.out), chosen_score(options)
    grid = checked_grid(options, passed_on)
    all_points = [make_point(settings, options, passed_on, out) for settings in combinations(grid)]
    run.check([point for point in all_points if options.fresh or not point.is_done], score)
    if options.dry_run:
        for point in all_points:
            say(shlex.join(["wemoe-pl", *point.command]))
        return
    with writing_to(out):
        check_points(all_points, options.fresh)
        failed = run_all(all_points, options, run, out)
        left = [point for point in all_points if point not in failed]
        summarise(left, list(grid), out, score)
    if failed:
        reasons = "; ".join(f"{point.folder.name}: {last_words(point)}" for point in failed)
        raise WeMoEError(f"{len(failed)} of {len(all_points)} points failed. {reasons}")


def chosen_score(options: Namespace) -> LabelFreeScore | None:
    """Return the score that settings are chosen by; None if no setting is to be chosen."""
    selected: LabelFreeScore | None = options.select
    if options.choose and selected not in (None, "information"):
        raise ConfigError(
            f"--choose chooses by information, but --select is {selected}: leave --choose out."
        )
    return "information" if options.choose else selected


def checked_grid(options: Namespace, passed_on: list[str]) -> dict[str, list[str]]:
    """Return the values of the grid, by key; raise `ConfigError` for an option that is wrong."""
    if not options.grid:
        raise ConfigError("There is nothing to sweep: give --grid KEY=A,B,C.")
    if options.jobs is not None:
        at_least(1, "--jobs", options.jobs)
    if options.gpus and not re.fullmatch(r"\d+(,\d+)*", options.gpus):
        raise ConfigError(f"--gpus is '{options.gpus}': give numbers such as 0,1.")
    grid = parse_grid(options.grid)
    given = dict(given_options(passed_on))
    for key in grid:
        if key in given:
            raise ConfigError(f"{key} is in the grid and given as --{key} too: leave one out.")
    return grid
