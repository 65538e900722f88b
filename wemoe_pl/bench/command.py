"""The command line of `wemoe-pl bench`, its table and its JSON."""

import json
import platform
import shlex
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median_low
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from wemoe_pl.bench.measures import MEASURES
from wemoe_pl.bench.subjects import Row, Settings
from wemoe_pl.errors import ConfigError, did_you_mean
from wemoe_pl.files import atomic_write, make_folder
from wemoe_pl.options import BENCH_NOTE, BENCH_SHAPES, PRECISIONS, bench_parser
from wemoe_pl.plots import plot_costs
from wemoe_pl.provenance import versions

PLANNED = ("fetched", "frozen", "learned", "sum", "moved")
# What is told in a unit of its own, and how many of that unit it is.
UNITS = {
    "ms": (("forward", "both", "arithmetic", "reading", "seconds"), 1e3),
    "MB": (("bytes", "extra", "dictionary", "model", "checkpoint", *PLANNED), 1e-6),
}
WIDEST = 140  # columns of a table that is printed whole, even where lines then wrap


def bench(args: list[str]) -> None:
    """Measure what the arguments ask for, print a table of each, and leave `bench.json`.

    Raises:
        ConfigError: the arguments are wrong, or there is no such device.
    """
    options = bench_parser().parse_args(args)
    settings = settings_of(options)
    out = make_folder(Path(options.out))
    console = Console()
    console.width = max(console.width, WIDEST)
    measured: dict[str, list[Row]] = {}
    for measure in options.measures or MEASURES:
        with console.status(f"Measuring {measure}"):
            measured[measure] = alone(measure, settings, options.seed, options.threads)
        console.print(table_of(measure, measured[measure]))
        if measure == "layer":
            draw_curves(out, measured[measure])
        about = conditions(options.seed, options.threads, ["bench", *args])
        with atomic_write(out / "bench.json") as temporary:
            temporary.write_text(json.dumps({"about": about, **measured}, indent=1) + "\n")
    console.print(f"{BENCH_NOTE}\n{out / 'bench.json'}", highlight=False, soft_wrap=True)


def alone(measure: str, settings: Settings, seed: int, threads: int | None) -> list[Row]:
    """Rows of one measure, from a process that did nothing else, so that memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(rows, measure, settings, seed, threads).result()


def rows(measure: str, settings: Settings, seed: int, threads: int | None) -> list[Row]:
    """Rows of one measure."""
    torch.manual_seed(seed)
    if threads:
        torch.set_num_threads(threads)
    return [*MEASURES[measure](settings)]


def settings_of(options: Any) -> Settings:
    """Options as settings, or a `ConfigError` that names what is wrong."""
    one_of("measure", options.measures, [*MEASURES])
    shapes = options.shapes.split(",")
    one_of("shape", shapes, BENCH_SHAPES)
    one_of("precision", [options.precision], PRECISIONS)
    if options.device != "cpu" and not torch.cuda.is_available():
        raise ConfigError(f"There is no device '{options.device}' here: leave out --device.")
    for name in ("repeats", "blocks", "threads"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise ConfigError(f"--{name} is {value}: give a number from 1.")
    return Settings(
        shapes=tuple(shapes),
        samples=whole_numbers("samples", options.samples),
        experts=whole_numbers("experts", options.experts),
        depths=whole_numbers("depths", options.depths, least=0, most=2),
        blocks=options.blocks,
        repeats=options.repeats,
        device=options.device,
        dtype=getattr(torch, options.precision),
    )


def draw_curves(out: Path, measured: Sequence[Row]) -> None:
    """How the cost of a layer grows with samples and with experts: a picture for each shape."""
    for shape in dict.fromkeys(row["shape"] for row in measured):
        rows = [row for row in measured if row["shape"] == shape]
        usual = {key: middle(row[key] for row in rows) for key in ("samples", "experts", "depth")}
        curves = {key: costs_by(key, rows, usual) for key in ("samples", "experts")}
        if several := {k: lines for k, lines in curves.items() if len(lines["plain, forward"]) > 1}:
            fixed = ", ".join(f"{key} {value}" for key, value in usual.items())
            about = f"An MLP of {shape}; where it is not the axis: {fixed}"
            plot_costs(out / f"layer_{shape}.png", several, about)


def costs_by(
    key: str, measured: Sequence[Row], usual: Mapping[str, int]
) -> dict[str, dict[int, float]]:
    """Seconds by one key, of the rows that have the usual value of every other."""
    lines: dict[str, dict[int, float]] = {}
    for row in measured:
        if all(row[other] == value for other, value in usual.items() if other != key):
            for what, label in {"forward": "forward", "both": "forward + backward"}.items():
                lines.setdefault(f"{row['run']}, {label}", {})[row[key]] = row[what]
    return lines


def middle(values: Iterable[int]) -> int:
    """The one that as many of the different values are below as above."""
    return median_low(sorted(set(values)))


def one_of(what: str, given: Sequence[str], known: Sequence[str]) -> None:
    """Raise `ConfigError` for a name that is not known."""
    for name in given:
        if name not in known:
            raise ConfigError(f"There is no {what} '{name}'. {did_you_mean(name, known)}")


def whole_numbers(name: str, text: str, least: int = 1, most: int = 2**20) -> tuple[int, ...]:
    """Numbers with commas between them."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not all(least <= number <= most for number in numbers):
        raise ConfigError(f"--{name} is '{text}': give whole numbers from {least}, such as 1,2.")
    return numbers


def table_of(measure: str, measured: Sequence[Row]) -> Table:
    """One line per row."""
    table = Table(title=measure)
    for name, value in measured[0].items():
        unit = next((f", {unit}" for unit, (names, _) in UNITS.items() if name in names), "")
        words = isinstance(value, str | bool)
        table.add_column(name + unit, justify="left" if words else "right", no_wrap=True)
    for row in measured:
        table.add_row(*(cell(name, value) for name, value in row.items()))
    return table


def cell(name: str, value: Any) -> str:
    """A value as a person reads it: milliseconds, megabytes, ratios.

    >>> cell("forward", 0.0789), cell("bytes", 75_000_000), cell("ratio", 1.757), cell("best", True)
    ('78.9', '75.0', '1.76', 'yes')
    """
    if isinstance(value, bool):
        return "yes" if value else ""
    for names, scale in UNITS.values():
        if name in names and value is not None:
            return f"{value * scale:.1f}"
    return "–" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


def conditions(seed: int, threads: int | None, command: Sequence[str]) -> dict[str, Any]:
    """What makes the numbers what they are."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "command": shlex.join(["wemoe-pl", *command]),
        "note": BENCH_NOTE,
        "seed": seed,
        "versions": versions(),
        "threads": threads or torch.get_num_threads(),
        "processor": platform.processor() or platform.machine(),
        "gpu": gpu,
    }
