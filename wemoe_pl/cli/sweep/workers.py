"""Run the jobs of a sweep, several at once, each in a process of its own."""

import os
import subprocess
import sys
from argparse import Namespace
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from wemoe_pl.cli.options import FRESH
from wemoe_pl.cli.sweep.checking import check_configs
from wemoe_pl.cli.sweep.points import Point
from wemoe_pl.cli.sweep.progress import SweepProgress
from wemoe_pl.errors import WeMoEError
from wemoe_pl.runs.lock import held
from wemoe_pl.system.files import make_folder
from wemoe_pl.system.signals import LIFELINE, REQUEST, Stopped
from wemoe_pl.system.terminal import say
from wemoe_pl.training.shown_metrics import LabelFreeScore

LAUNCH = ("-m", "wemoe_pl")
SAFE_PATH = "PYTHONSAFEPATH"  # otherwise -m would import from the current folder first
ORPHAN = 120.0  # seconds to wait for the end of a child that a killed sweep has left
LOOK_AGAIN = 0.2  # seconds between two checks for a signal
GRACE = 20  # seconds that an interrupted run has to end


def run_all(
    all_points: list[Point], options: Namespace, run: "Processes", out: Path
) -> list[Point]:
    """Run the points that are not done yet, and return those that failed.

    Raises:
        Stopped: a signal has asked the sweep to stop; a note says which points are done.
    """
    environments = worker_environments(options)
    left = deque(point for point in all_points if options.fresh or not point.is_done)
    progress = SweepProgress(len(all_points), len(left), len(environments), out)
    failed: list[Point] = []
    running: dict[Future[int], tuple[Point, dict[str, str]]] = {}
    with ThreadPoolExecutor(len(environments)) as pool:

        def begin_next(environment: dict[str, str]) -> None:
            if left:
                point = left.popleft()
                progress.begin(point)
                future = pool.submit(run_point, point, environment, run, options.fresh)
                running[future] = point, environment

        try:
            for environment in environments:
                begin_next(environment)
            while running:
                for future in ended(running):
                    point, environment = running[future]
                    failed += [point] if future.result() else []
                    del running[future]
                    progress.end(point, has_failed=point in failed)
                    begin_next(environment)
        except (KeyboardInterrupt, Stopped) as stopped:
            run.stop()
            stopped.add_note(progress.when_stopped([point for point, _ in running.values()]))
            raise
    return failed


def ended(running: Collection[Future[int]]) -> set[Future[int]]:
    """Wait a moment for points that run in other threads, and return those that have ended.

    Raises:
        Stopped: a signal has asked the sweep to stop.
    """
    done, _ = wait(running, LOOK_AGAIN, return_when=FIRST_COMPLETED)
    REQUEST.obey_if_due()
    return done


def worker_environments(options: Namespace) -> list[dict[str, str]]:
    """Return an environment for each concurrent job, with its GPU or its share of the cores."""
    if options.gpus:
        return [os.environ | {"CUDA_VISIBLE_DEVICES": gpu} for gpu in options.gpus.split(",")]
    jobs = options.jobs or 1
    cores = str(max(1, (os.cpu_count() or 1) // jobs))
    threads = {} if jobs == 1 else {"OMP_NUM_THREADS": cores}
    return [threads | os.environ for _ in range(jobs)]


def run_point(
    point: Point, environment: Mapping[str, str], run: "Processes", fresh: bool = False
) -> int:
    """Record the command of a point, run it, and return its exit status.

    Before that, a child that a killed sweep has left there must end, and damaged files are removed.
    """
    make_folder(point.folder)
    try:
        with held(point.run.lock, point.folder, patience_here=ORPHAN):
            point.let_go_of_damage()
            point.write_down()
    except WeMoEError as error:
        with point.log.open("a") as file:
            say(error, file=file)
        return 1
    anew = [FRESH] if fresh else []
    status = run([*point.command, *anew], point.log, environment)
    if status == 0:
        point.write_down(is_done=True)
    return status


class Processes:
    """`Processes` runs every command in a process of its own, and knows which still run."""

    def __init__(self) -> None:
        self.running: list[subprocess.Popen[bytes]] = []

    def __call__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> int:
        """Run one command, write its output to a file, and return its exit status."""
        with (
            log.open("a") as file,
            subprocess.Popen(
                [sys.executable, *LAUNCH, *command],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**environment, LIFELINE: "stdin", SAFE_PATH: "1"},
            ) as process,
        ):
            self.running.append(process)
            return process.wait()

    def check(self, points: Collection[Point], score: LabelFreeScore | None) -> None:
        """Read the configs of points, and raise `ConfigError` for one that a run would refuse.

        Args:
            points: the points of the sweep.
            score: the score that settings will be chosen by, if any.
        """
        check_configs(points, score)

    def stop(self) -> None:
        """Ask all processes that still run to end, and kill those that do not."""
        for process in self.running:
            if process.stdin is not None:
                process.stdin.close()  # its lifeline
        for process in self.running:
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
