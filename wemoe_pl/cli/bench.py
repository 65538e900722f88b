"""Run `wemoe-pl bench`: check its options, and take the measurements that they ask for."""

import shlex
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import torch

from wemoe_pl.bench.names import BENCH_MEASURES, BENCH_SHAPES, RANDOM_MEASURES, SERVE
from wemoe_pl.bench.report import bench
from wemoe_pl.bench.subjects import Settings
from wemoe_pl.cli.verb_parsers import bench_parser
from wemoe_pl.errors import ConfigError, at_least, did_you_mean
from wemoe_pl.moe.precision import PRECISIONS


def run_bench(args: list[str]) -> None:
    """Take the measurements that the arguments name."""
    options = bench_parser().parse_args(args)
    bench(
        settings_of(options),
        options.measures or ([SERVE] if options.run else RANDOM_MEASURES),
        Path(options.out),
        seed=options.seed,
        threads=options.threads,
        command=shlex.join(["wemoe-pl", "bench", *args]),
    )


def settings_of(options: Namespace) -> Settings:
    """Return the options as settings, or raise a `ConfigError` that names the wrong option."""
    one_of("measure", options.measures, BENCH_MEASURES)
    shapes = options.shapes.split(",")
    one_of("shape", shapes, BENCH_SHAPES)
    if SERVE in options.measures and not options.run:
        raise ConfigError(f"`bench {SERVE}` measures the model of a run: give its folder by --run.")
    if options.run and options.measures and SERVE not in options.measures:
        raise ConfigError(f"--run is read by `bench {SERVE}` alone: leave it out, or add {SERVE}.")
    one_of("precision", [options.precision], PRECISIONS)
    if options.device != "cpu" and not torch.cuda.is_available():
        raise ConfigError(f"There is no device '{options.device}' here: leave out --device.")
    for name in ("repeats", "blocks", "threads", "images"):
        if (value := getattr(options, name)) is not None:
            at_least(1, f"--{name}", value)
    return Settings(
        shapes=tuple(shapes),
        samples=whole_numbers("samples", options.samples),
        experts=whole_numbers("experts", options.experts),
        depths=whole_numbers("depths", options.depths, least=0, most=2),
        blocks=options.blocks,
        repeats=options.repeats,
        device=options.device,
        dtype=getattr(torch, options.precision),
        run=options.run,
        images=options.images,
    )


def one_of(what: str, given: Sequence[str], known: Sequence[str]) -> None:
    """Raise `ConfigError` for the first given name that is not known."""
    for name in given:
        if name not in known:
            raise ConfigError(f"There is no {what} '{name}'. {did_you_mean(name, known)}")


def whole_numbers(name: str, text: str, least: int = 1, most: int = 2**20) -> tuple[int, ...]:
    """Return the whole numbers in a text with commas between them, or raise `ConfigError`."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not all(least <= number <= most for number in numbers):
        raise ConfigError(f"--{name} is '{text}': give whole numbers from {least}, such as 1,2.")
    return numbers
