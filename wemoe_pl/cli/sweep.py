"""`wemoe-pl sweep`: a job for every point of a grid, one after another or several at once.

Every point is a command of its own, `wemoe-pl fit --config … --KEY=VALUE …`, and so composes with
the sweeps of Weights & Biases, whose agents call the same command with the same keys.
"""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from wemoe_pl import merging
from wemoe_pl.cli.completion import flatten
from wemoe_pl.cli.grid import folder_name, parse_grid, points, short_names
from wemoe_pl.cli.options import CONFIG, FRESH, sweep_parser, values_of
from wemoe_pl.errors import ConfigError, WeMoEError
from wemoe_pl.reporting.plots.figures import plot_sweep
from wemoe_pl.reporting.table import percent
from wemoe_pl.runs.folder import RunFolder, RunState
from wemoe_pl.runs.identity import program_change
from wemoe_pl.runs.lock import held
from wemoe_pl.runs.session import writing_to
from wemoe_pl.runs.settings import read_settings
from wemoe_pl.system.configs import find_config
from wemoe_pl.system.files import atomic_write, digest, make_folder
from wemoe_pl.system.signals import PARENT, Stopped
from wemoe_pl.training.metrics import mean

LAUNCH = ("-m", "wemoe_pl")
ORPHAN = 120.0  # seconds that a child of a killed sweep has to come to an end
PATIENCE = 20  # seconds that an interrupted run has to come to an end
WIDEST = 1000  # columns of a table that is printed whole, even where lines then wrap
SEED = "seed_everything"


class Runner(Protocol):
    """What runs commands."""

    def __call__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> int:
        """Run one command, its output in a file; the exit status."""

    def stop(self) -> None:
        """Let all that still run come to an end."""


@dataclass(frozen=True)
class Point:
    """One point of a grid: its settings, its folder, and the command that makes it."""

    settings: dict[str, str]
    folder: Path
    command: tuple[str, ...]

    @property
    def record(self) -> Path:
        """Where the command is written down."""
        return self.folder / "command.json"

    @property
    def log(self) -> Path:
        """What the command printed."""
        return self.folder / "log.txt"

    @property
    def run(self) -> RunFolder:
        """The folder, as that of a run."""
        return RunFolder(self.folder)

    @property
    def results(self) -> dict[str, Any] | None:
        """What it left, if it came to its end."""
        return self.run.read_results() if self.run.state is RunState.FINISHED else None

    @property
    def files(self) -> dict[str, str]:
        """What the files that the command names contain, as hashes."""
        words = [word.rpartition("=")[2] for word in self.command]
        names = [find_config(name) for name in values_of(self.command, *CONFIG)] + words
        return {name: digest(Path(name)) for name in names if Path(name).is_file()}

    def write_down(self, is_done: bool = False) -> None:
        """Write down the command, and what it was made with when it is done."""
        record = {"command": self.command, "files": self.files if is_done else None}
        with atomic_write(self.record) as temporary:
            temporary.write_text(json.dumps(record))

    @property
    def recorded(self) -> dict[str, Any]:
        """What was written down when the point was last run; empty if it never was."""
        if not self.record.is_file():
            return {}
        record = json.loads(self.record.read_text())
        return record if isinstance(record, dict) else {"command": record}  # of an earlier version

    @property
    def is_of_command(self) -> bool:
        """Is it this very command that was run in the folder?"""
        return self.recorded.get("command") == list(self.command)

    @property
    def is_done(self) -> bool:
        """Did this very command come to its end, with configs as they are now?

        Where a config has changed, the command is run, which itself knows whether that matters.
        """
        has_ended = self.is_of_command and self.recorded.get("files") == self.files
        return has_ended and self.results is not None


def sweep(args: list[str], run: Runner | None = None) -> None:
    """Run the grid that the arguments describe, and end in one table.

    Args:
        args: the command line behind `wemoe-pl sweep`.
        run: runs one command; by default, in a process of its own.

    Raises:
        ConfigError: the arguments are wrong, or a folder holds another sweep's results.
        WeMoEError: some points failed; the others have run.
    """
    options, passed_on = sweep_parser().parse_known_args(args)
    out = Path(options.out)
    grid = checked_grid(options, passed_on)
    all_points = [make_point(point, options, passed_on, out) for point in points(grid)]
    if options.dry_run:
        for point in all_points:
            print(shlex.join(["wemoe-pl", *point.command]))
        return
    with writing_to(out):
        check_points(all_points, options.fresh)
        failed = run_all(all_points, options, run or Processes())
        finish([each for each in all_points if each not in failed], list(grid), out, options.choose)
    if failed:
        told = "; ".join(f"{point.folder.name}: {last_words(point)}" for point in failed)
        raise WeMoEError(f"{len(failed)} of {len(all_points)} points failed. {told}")


def checked_grid(options: Namespace, passed_on: list[str]) -> dict[str, list[str]]:
    """The grid, if it and the other options make sense."""
    if not options.grid:
        raise ConfigError("There is nothing to sweep: give --grid KEY=A,B,C.")
    if options.jobs is not None and options.jobs < 1:
        raise ConfigError(f"--jobs is {options.jobs}: give a number from 1.")
    if options.gpus and not re.fullmatch(r"\d+(,\d+)*", options.gpus):
        raise ConfigError(f"--gpus is '{options.gpus}': give numbers such as 0,1.")
    grid = parse_grid(options.grid)
    given = {arg.removeprefix("--").partition("=")[0] for arg in passed_on if arg[:2] == "--"}
    for key in grid:
        if key in given:
            raise ConfigError(f"{key} is in the grid and given as --{key} too: leave one out.")
    return grid


def make_point(
    settings: dict[str, str], options: Namespace, passed_on: list[str], out: Path
) -> Point:
    """The command of a point, and where it goes."""
    configs = [*options.config, *([settings["config"]] if "config" in settings else [])]
    folder = out / folder_name(settings)
    values = (f"--{key}={value}" for key, value in settings.items() if key != "config")
    arguments = (*passed_on, *values)
    is_chosen = options.command != "auto"
    command = options.command if is_chosen else command_for(configs, arguments)
    named = (part for config in configs for part in ("--config", config))
    return Point(settings, folder, (command, *named, *arguments, "--out", str(folder)))


def command_for(configs: Sequence[str], arguments: Sequence[str]) -> str:
    """`test` for a job whose merge is static, with nothing to fit; else `fit`.

    Args:
        configs: those that are given, of which the later ones count.
        arguments: what the command line says beside them, which counts more.

    Raises:
        ConfigError: there is no such config.
    """
    settings: dict[str, str] = {}
    for config in configs:
        settings |= flatten(read_settings(Path(find_config(config))) or {})
    merge = [settings.get("model.merge", ""), *values_of(arguments, "--model.merge")][-1]
    method = getattr(merging, merge.rpartition(".")[2], None)
    return "test" if getattr(method, "is_static", False) else "fit"


def check_points(all_points: Iterable[Point], fresh: bool) -> None:
    """Raise `ConfigError` if a folder holds the results of another command, or of other code."""
    for point in all_points:
        results = point.results
        if results is not None and not point.is_of_command:
            raise ConfigError(
                f"{point.folder} holds the results of another command: choose another --out, or "
                "delete it."
            )
        if results is not None and not fresh and (change := program_change(results)):
            raise ConfigError(
                f"{point.folder} was finished before {change} was changed: give --fresh to run "
                "all points anew, or another --out."
            )


def run_all(all_points: list[Point], options: Namespace, run: Runner) -> list[Point]:
    """Run what is not done yet; those that failed."""
    environments = worker_environments(options)
    free: SimpleQueue[dict[str, str]] = SimpleQueue()
    for environment in environments:
        free.put(environment)

    def work(point: Point) -> int:
        environment = free.get()
        try:
            return run_point(point, environment, run, options.fresh)
        finally:
            free.put(environment)

    failed = []
    with ThreadPoolExecutor(len(environments)) as pool:
        left = [point for point in all_points if options.fresh or not point.is_done]
        running = {pool.submit(work, point): point for point in left}
        try:
            for number, future in enumerate(as_completed(running), start=1):
                point = running[future]
                failed += [point] if future.result() else []
                outcome = progress(point, number, len(running), has_failed=point in failed)
                Console().print(outcome, highlight=False)
        except (KeyboardInterrupt, Stopped):
            pool.shutdown(wait=False, cancel_futures=True)
            run.stop()
            raise
    return failed


def worker_environments(options: Namespace) -> list[dict[str, str]]:
    """The environment of every job that runs at a time: its GPU, or its share of the cores."""
    if options.gpus:
        return [os.environ | {"CUDA_VISIBLE_DEVICES": gpu} for gpu in options.gpus.split(",")]
    jobs = options.jobs or 1
    cores = str(max(1, (os.cpu_count() or 1) // jobs))
    threads = {} if jobs == 1 else {"OMP_NUM_THREADS": cores}
    return [threads | os.environ for _ in range(jobs)]


def run_point(
    point: Point, environment: Mapping[str, str], run: Runner, fresh: bool = False
) -> int:
    """Write the command down, and run it, once a child of a killed sweep has ended there."""
    make_folder(point.folder)
    try:
        with held(point.run.lock, point.folder, patience_here=ORPHAN):
            point.write_down()
    except WeMoEError as error:
        with point.log.open("a") as file:
            print(error, file=file)
        return 1
    anew = [FRESH] if fresh else []
    status = run([*point.command, *anew], point.log, environment)
    if status == 0:
        point.write_down(is_done=True)
    return status


class Processes:
    """Runs every command in a process of its own, and knows those that still run."""

    def __init__(self) -> None:
        self.running: list[subprocess.Popen[bytes]] = []

    def __call__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> int:
        """Run one command, its output in a file; the exit status."""
        with log.open("a") as file:
            process = subprocess.Popen(
                [sys.executable, *LAUNCH, *command],
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**environment, PARENT: str(os.getpid())},
            )
            self.running.append(process)
            return process.wait()

    def stop(self) -> None:
        """Let all that still run come to an end."""
        for process in self.running:
            stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Let a process that still runs come to an end, or make it."""
    if process.poll() is not None:
        return
    process.terminate()  # no second Ctrl-C, which would end it at once
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()


def progress(point: Point, number: int, of: int, has_failed: bool) -> str:
    """One line on a point that has ended."""
    results = None if has_failed else point.results  # which may be of another config
    outcome = f"mean {percent(results['mean'])}" if results else f"failed: {last_words(point)}"
    return f"{number}/{of} {point.folder.name}: {outcome}"


def last_words(point: Point) -> str:
    """The last line of a point's log, which is the error of one that failed."""
    lines = point.log.read_text().strip().splitlines() if point.log.is_file() else []
    return lines[-1].removeprefix("wemoe-pl: ") if lines else "it left no log."


def finish(all_points: list[Point], keys: list[str], out: Path, choose: bool) -> None:
    """Print the table, and write it, its plot, and what would be chosen without labels."""
    done = [(point, point.results) for point in all_points]
    finished = [(point, results) for point, results in done if results is not None]
    if not finished:
        return
    chosen = max(finished, key=lambda each: information(each[1]) or 0.0)[0] if choose else None
    rows = [row(point, results) for point, results in finished]
    table = sweep_table(finished, keys, chosen)
    Console(width=Console(width=WIDEST).measure(table).maximum).print(table)
    with atomic_write(out / "sweep.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for each in rows for key in each)))
        writer.writeheader()
        writer.writerows(rows)
    if chosen:
        results = chosen.results or {}
        choice = chosen.settings | {
            "folder": str(chosen.folder),
            "information": information(results),
        }
        with atomic_write(out / "chosen.json") as temporary:
            temporary.write_text(json.dumps(choice, indent=2) + "\n")
    draw(finished, keys, out)


def row(point: Point, results: Mapping[str, Any]) -> dict[str, Any]:
    """A line of sweep.csv."""
    return {
        **point.settings,
        **{f"accuracy/{task}": value for task, value in results["accuracy"].items()},
        "mean": results["mean"],
        "partial": results.get("partial"),
        "information": information(results),
        **{f"seconds/{stage}": value for stage, value in results["seconds"].items()},
        "folder": str(point.folder),
    }


def information(results: Mapping[str, Any]) -> float | None:
    """The label-free score: the mean over tasks."""
    return mean(results.get("information", {}))


def sweep_table(
    finished: Sequence[tuple[Point, Mapping[str, Any]]], keys: list[str], chosen: Point | None
) -> Table:
    """One line per point: its settings, accuracies, their mean, and the label-free score."""
    first = finished[0][1]
    tasks = list(dict.fromkeys(task for _, results in finished for task in results["tasks"]))
    title = escape(f"Sweep on {first['suite']}, accuracy in %")
    notes = dict.fromkeys(
        results.get(key) for _, results in finished for key in ("note", "partial")
    )
    table = Table(title=title, caption=escape("\n".join(filter(None, notes))) or None)
    for name in short_names(keys).values():
        table.add_column(name)
    for name in (*tasks, "mean", "information"):
        table.add_column(name, justify="right")
    for point, results in finished:
        scores = [results["accuracy"].get(task) for task in tasks]
        scores += [results["mean"], information(results)]
        mark = " ← chosen without labels" if point is chosen else ""
        shown = [percent(score) for score in scores]
        table.add_row(*point.settings.values(), *shown[:-1], shown[-1] + mark)
    return table


def draw(finished: Sequence[tuple[Point, Mapping[str, Any]]], keys: list[str], out: Path) -> None:
    """Plot the mean accuracy over the one key that has numbers for values, if there is one."""
    numeric = [
        key
        for key in keys
        if key != SEED and all(is_number(point.settings[key]) for point, _ in finished)
    ]
    if len(numeric) != 1:
        return
    [key] = numeric
    lines: dict[str, dict[float, list[float]]] = {}
    for point, results in finished:
        others = {k: v for k, v in point.settings.items() if k not in (key, SEED)}
        line = lines.setdefault(folder_name(others), {})
        if results["mean"] is not None:
            line.setdefault(float(point.settings[key]), []).append(results["mean"])
    plot_sweep(out / "sweep.png", short_names(keys)[key], lines, finished[0][1]["suite"])


def is_number(text: str) -> bool:
    """Can a value be a place on an axis?"""
    try:
        float(text)
    except ValueError:
        return False
    return True
