"""Sweeps whose commands are noted and not run."""

import json
import signal
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from helpers.written_runs import bare_results, results_record

from wemoe_pl.cli.sweep.command import sweep
from wemoe_pl.cli.sweep.points import Point
from wemoe_pl.cli.sweep.workers import Processes
from wemoe_pl.system.provenance import program, versions
from wemoe_pl.system.signals import Stopped
from wemoe_pl.training.shown_metrics import LabelFreeScore


class FakeRunner(Processes):
    """Notes commands, and leaves results of which the accuracy is λ.

    Args:
        failing: names of points that fail.
        interrupted: the name of a point at which Ctrl-C is pressed.
        checks: are commands read before any is noted, as they are before any is run?
    """

    def __init__(self, failing: Sequence[str] = (), interrupted: str = "", checks: bool = False):
        super().__init__()
        self.checks = checks
        self.failing = failing
        self.interrupted = interrupted
        self.commands: list[list[str]] = []
        self.environments: list[Mapping[str, str]] = []
        self.stopped = False

    def __call__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> int:
        self.commands.append(list(command))
        self.environments.append(environment)
        name = log.parent.name
        if name == self.interrupted:
            raise Stopped(signal.SIGINT)
        if name in self.failing:
            log.write_text("noise\nwemoe-pl: There is no key 'lamda'.\n")
            return 1
        values = [float(a.partition("=")[2]) for a in command if a.startswith("--model.merge.sc")]
        value = values[0] if values else 0.5
        results = bare_results(
            {"cars": value}, method="TaskArithmetic", versions=versions(), seconds={"test": 1.5},
            run=results_record(program=program()), information={"cars": 1 - value},
        )  # fmt: skip
        (log.parent / "results.json").write_text(json.dumps(results))
        return 0

    def check(self, points: Collection[Point], score: LabelFreeScore | None) -> None:
        if self.checks:  # it takes half a second a point
            super().check(points, score)

    def stop(self) -> None:
        self.stopped = True


GRID = ("--grid", "model.merge.scaling=0.2,0.4", "--grid", "seed_everything=0,1")
JOB = ("--config", "task_arithmetic", *GRID, "--trainer.accelerator", "cpu")


def run_sweep(tmp_path: Path, *arguments: str, runner: FakeRunner | None = None) -> FakeRunner:
    """Run a sweep in a folder, by a runner that only notes commands."""
    runner = runner or FakeRunner()
    sweep([*arguments, "--out", str(tmp_path / "sweep")], runner)
    return runner
