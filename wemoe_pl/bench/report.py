"""Report a bench: print a table of each measure, and write `bench.json` and pictures."""

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median_low
from typing import Any

import torch
from rich.table import Table

from wemoe_pl.bench.measures import MEASURES
from wemoe_pl.bench.names import note_on
from wemoe_pl.bench.subjects import BenchRow, Settings
from wemoe_pl.reporting.plots.sweep import plot_costs
from wemoe_pl.system.console import Console
from wemoe_pl.system.files import atomic_rewrite, make_folder
from wemoe_pl.system.provenance import versions

# Columns that a table shows in another unit than seconds or bytes, and the factor to that unit.
MILLISECONDS = ["forward", "both", "arithmetic", "reading", "seconds", "alone", "mixed"]
MEGABYTES = [
    "bytes", "extra", "dictionary", "model", "checkpoint", "fetched", "frozen", "learned", "sum",
    "moved",
]  # fmt: skip
UNITS = {"ms": (MILLISECONDS, 1e3), "MB": (MEGABYTES, 1e-6)}
TABLE_WIDTH = 140  # characters of a line of a table, which is printed whole even if lines wrap


def bench(
    settings: Settings,
    measures: Sequence[str],
    out: Path,
    *,
    seed: int,
    threads: int | None,
    command: str,
) -> None:
    """Take some measures, print a table of each, and write `bench.json`.

    Args:
        settings: the settings of all measures.
        measures: the names of the measures, from `MEASURES`.
        out: the folder of `bench.json` and of the pictures.
        seed: the seed of the random weights.
        threads: the number of threads of a CPU that are used; None for as many as torch takes.
        command: the command that asks for this, which is written to `bench.json`.
    """
    make_folder(out)
    console = Console()
    console.width = max(console.width, TABLE_WIDTH)
    measured: dict[str, list[BenchRow]] = {}
    for measure in measures:
        with console.status(f"Measuring {measure}"):
            measured[measure] = take_alone(measure, settings, seed, threads)
        console.print(table_of_rows(measure, measured[measure]))
        if measure == "layer":
            draw_curves(out, measured[measure])
        about = conditions(measures, seed, threads, command)
        with atomic_rewrite(out / "bench.json") as temporary:
            temporary.write_text(json.dumps({"about": about, **measured}, indent=1) + "\n")
    console.print(f"{note_on(measures)}\n{out / 'bench.json'}", soft_wrap=True)


def take_alone(measure: str, settings: Settings, seed: int, threads: int | None) -> list[BenchRow]:
    """Take a measure in a process that has done nothing else, so that all memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(take, measure, settings, seed, threads).result()


def take(measure: str, settings: Settings, seed: int, threads: int | None) -> list[BenchRow]:
    """Take a measure in this process."""
    torch.manual_seed(seed)
    if threads:
        torch.set_num_threads(threads)
    return [*MEASURES[measure](settings)]


def draw_curves(out: Path, measured: Sequence[BenchRow]) -> None:
    """Draw how the cost of a layer grows with samples and with experts, for each shape."""
    for shape in dict.fromkeys(row["shape"] for row in measured):
        rows = [row for row in measured if row["shape"] == shape]
        usual = {key: middle(row[key] for row in rows) for key in ("samples", "experts", "depth")}
        curves = {key: costs_by(key, rows, usual) for key in ("samples", "experts")}
        if several := {k: lines for k, lines in curves.items() if len(lines["plain, forward"]) > 1}:
            fixed = ", ".join(f"{key} {value}" for key, value in usual.items())
            about = f"An MLP of {shape}; values that are not on the axis: {fixed}"
            plot_costs(out / f"layer_{shape}.png", several, about)


def costs_by(
    key: str, measured: Sequence[BenchRow], usual: Mapping[str, int]
) -> dict[str, dict[int, float]]:
    """Return seconds by one key, from the rows that have the usual value of every other key."""
    lines: dict[str, dict[int, float]] = {}
    for row in measured:
        if all(row[other] == value for other, value in usual.items() if other != key):
            for what, label in {"forward": "forward", "both": "forward + backward"}.items():
                lines.setdefault(f"{row['run']}, {label}", {})[row[key]] = row[what]
    return lines


def middle(values: Iterable[int]) -> int:
    """Return the median of the different values, or the lower one of two in the middle."""
    return median_low(sorted(set(values)))


def table_of_rows(measure: str, measured: Sequence[BenchRow]) -> Table:
    """Return a table of the rows of a measure."""
    table = Table(title=measure)
    for name, value in measured[0].items():
        unit = next((f", {unit}" for unit, (names, _) in UNITS.items() if name in names), "")
        words = isinstance(value, str | bool)
        table.add_column(name + unit, justify="left" if words else "right", no_wrap=True)
    for row in measured:
        table.add_row(*(cell(name, value) for name, value in row.items()))
    return table


def cell(name: str, value: Any) -> str:
    """Write a value for a reader: milliseconds, megabytes, ratios.

    >>> cell("forward", 0.0789), cell("bytes", 75_000_000), cell("ratio", 1.757), cell("best", True)
    ('78.9', '75.0', '1.76', 'yes')
    """
    if isinstance(value, bool):
        return "yes" if value else ""
    for names, scale in UNITS.values():
        if name in names and value is not None:
            return f"{value * scale:.1f}"
    return "–" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


def conditions(
    measures: Sequence[str], seed: int, threads: int | None, command: str
) -> dict[str, Any]:
    """Return the circumstances under which the measures were taken."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "command": command,
        "note": note_on(measures),
        "seed": seed,
        "versions": versions(),
        "threads": threads or torch.get_num_threads(),
        "processor": platform.processor() or platform.machine(),
        "gpu": gpu,
    }
