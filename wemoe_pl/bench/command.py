"""The command line of `wemoe-pl bench`, its table and its JSON."""

import json
import platform
import shlex
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from wemoe_pl.bench.measures import MEASURES, SHAPES, Row, Settings
from wemoe_pl.errors import ConfigError, did_you_mean
from wemoe_pl.evaluate import versions
from wemoe_pl.files import atomic_write, make_folder
from wemoe_pl.options import OneSentence

NOTE = "Random weights and images: times and sizes, not accuracy. Ratios are to the plain model."
# What is told in a unit of its own, and how many of that unit it is.
UNITS = {
    "ms": (("forward", "both", "seconds"), 1e3),
    "MB": (("bytes", "dictionary", "model", "checkpoint"), 1e-6),
}
WIDEST = 140  # columns of a table that is printed whole, even where lines then wrap
PRECISIONS = ("float32", "bfloat16", "float16")


def bench(args: list[str]) -> None:
    """Measure what the arguments ask for, print a table of each, and leave `bench.json`.

    Raises:
        ConfigError: the arguments are wrong, or there is no such device.
    """
    options = parser().parse_args(args)
    settings = settings_of(options)
    out = make_folder(Path(options.out))
    console = Console()
    console.width = max(console.width, WIDEST)
    measured: dict[str, list[Row]] = {}
    for measure in options.measures or MEASURES:
        with console.status(f"Measuring {measure}"):
            measured[measure] = alone(measure, settings, options.seed, options.threads)
        console.print(table_of(measure, measured[measure]))
        about = conditions(options.seed, options.threads, ["bench", *args])
        with atomic_write(out / "bench.json") as temporary:
            temporary.write_text(json.dumps({"about": about, **measured}, indent=1) + "\n")
    console.print(f"{NOTE}\n{out / 'bench.json'}", highlight=False, soft_wrap=True)


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


def parser() -> OneSentence:
    """What may be asked for."""
    made = OneSentence("wemoe-pl bench", description=f"Time and memory. {NOTE}")
    add = made.add_argument
    add("measures", nargs="*", help=f"Of {', '.join(MEASURES)}; by default all.")
    add("--shapes", default="vitb32", help=f"Of {', '.join(SHAPES)}, with commas between them.")
    add("--samples", default="16", help="In a batch; per task in a batch of an encoder.")
    add("--experts", default="8", help="Numbers of experts.")
    add("--depths", default="2", help="Of routers, 0 to 2.")
    add("--blocks", type=int, help="Of encoders at most; by default all.")
    add("--repeats", type=int, default=5, help="Of each timing, of which the median counts.")
    add("--device", default="cpu", help="cpu or cuda.")
    add("--precision", default="float32", help=f"Of {', '.join(PRECISIONS)}.")
    add("--threads", type=int, help="Of a CPU; by default what torch takes.")
    add("--seed", type=int, default=0, help="Of the random weights.")
    add("--out", default="runs/bench", help="Folder of bench.json.")
    return made


def settings_of(options: Any) -> Settings:
    """Options as settings, or a `ConfigError` that names what is wrong."""
    one_of("measure", options.measures, [*MEASURES])
    shapes = options.shapes.split(",")
    one_of("shape", shapes, [*SHAPES])
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
        "note": NOTE,
        "seed": seed,
        "versions": versions(),
        "threads": threads or torch.get_num_threads(),
        "processor": platform.processor() or platform.machine(),
        "gpu": gpu,
    }
