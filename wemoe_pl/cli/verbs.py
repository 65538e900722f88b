"""The commands that need no trainer: what each is given, and what it leaves."""

import logging
import shlex
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch.cli import ArgsType, LightningArgumentParser
from rich.console import Console

from wemoe_pl.bench.names import BENCH_MEASURES, BENCH_SHAPES
from wemoe_pl.bench.report import bench
from wemoe_pl.bench.subjects import Settings
from wemoe_pl.cli.job import WeMoECLI, build_job, only_tell
from wemoe_pl.cli.launchers import refuse_several
from wemoe_pl.cli.options import (
    CONFIG,
    FRESH,
    FULL,
    FULL_OPTION,
    LANDSCAPE_OPTIONS,
    QUIET,
    bench_parser,
    export_parser,
    report_parser,
    values_of,
)
from wemoe_pl.cli.prepare import prepare, write_heads
from wemoe_pl.cli.sweep import sweep
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError, did_you_mean
from wemoe_pl.export.bundle import parse_compression
from wemoe_pl.export.formats import export, largest_difference
from wemoe_pl.export.loading import open_model
from wemoe_pl.export.push import destination, push
from wemoe_pl.merging import EWEMoE, MergeMethod, WEMoE
from wemoe_pl.moe.precision import PRECISIONS
from wemoe_pl.preflight.command import Job, check
from wemoe_pl.reporting.analysis import write_landscape, write_parameters, write_similarity
from wemoe_pl.reporting.comparison import TableOptions
from wemoe_pl.reporting.report import report, report_page
from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.runs.lock import held
from wemoe_pl.runs.session import writing_to
from wemoe_pl.system.files import remove_folders_left

UPSCALED: dict[str, MergeMethod] = {
    "WEMoE, depth 2": WEMoE(),
    "WEMoE, depth 1": WEMoE(router_depth=1),
    "WEMoE, depth 0": WEMoE(router_depth=0),
    "E-WEMoE, 90 %": EWEMoE(),
}


class CheckCLI(WeMoECLI):
    """A job that is only looked at, with its config as it was given."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add how much is told."""
        super().add_arguments_to_parser(parser)
        parser.add_argument(FULL, **FULL_OPTION)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, and keep the config before a verb's own devices are put into it."""
        given = args if isinstance(args, list) else []
        switches = {FRESH: FRESH, **dict.fromkeys(QUIET, QUIET[-1])}  # keys with values, of a verb
        args = [f"{switches[arg]}=true" if arg in switches else arg for arg in given]
        super().parse_arguments(parser, args)
        only_tell(logging.WARNING)
        self.asked = yaml.safe_load(parser.dump(self.config, skip_unset=False))


class LandscapeCLI(WeMoECLI):
    """A job of which the landscape between two of its experts is drawn."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add how fine the grid is, and how many images it is measured on."""
        super().add_arguments_to_parser(parser)
        for name, option in LANDSCAPE_OPTIONS.items():
            parser.add_argument(f"--{name}", **vars(option))


# The commands that have keys of their own.
KINDS: dict[str, type[WeMoECLI]] = {"check": CheckCLI, "landscape": LandscapeCLI}


def run_verb(verb: str, args: list[str]) -> None:
    """Run a command that has no trainer."""
    refuse_several(verb)
    runs: dict[str, Callable[[list[str]], None]] = {
        "bench": run_bench,
        "export": export_model,
        "report": run_report,
        "sweep": sweep,
    }
    if verb in runs:
        runs[verb](args)
        return
    job = build_job(args, KINDS.get(verb, WeMoECLI))
    jobs: dict[str, Callable[[WeMoECLI], None]] = {
        "check": check_job,
        "prepare": prepare_job,
        "heads": make_heads,
        "similarity": compare_task_vectors,
        "landscape": draw_landscape,
        "parameters": count_parameters,
    }
    jobs[verb](job)


def check_job(job: WeMoECLI) -> None:
    """Tell what a job would do."""
    assert isinstance(job, CheckCLI)
    job.datamodule.sets.cached = False  # which would decode them all
    found = Job(
        job.model,
        job.datamodule,
        job.trainer,
        recipe=job.asked,
        configs=values_of(job.arguments, *CONFIG),
        is_out_given=bool(values_of(job.arguments, "--out")),
        is_checkpoint_given=bool(values_of(job.arguments, "--ckpt_path")),
        full=bool(job.asked.pop(FULL.removeprefix("--"))),
    )
    check(found, Console(), quiet=bool(job.asked["quiet"]))


def prepare_job(job: WeMoECLI) -> None:
    """Fetch what a job needs."""
    prepare(job.model, job.datamodule, Console())


def make_heads(job: WeMoECLI) -> None:
    """Build the suite's zero-shot heads, or that of one task."""
    suite: Suite = job.model.suite
    tasks = [job.settings.task] if job.settings.task else suite.tasks_with_made_heads
    if not tasks:
        raise ConfigError(
            f"The suite '{suite.name}' has no zero-shot heads: all tasks have heads of their own, "
            "or there is no `text_tower`."
        )
    with writing_to(job.out):
        tell(write_heads(suite, tasks, job.out))


def compare_task_vectors(job: WeMoECLI) -> None:
    """How near the task vectors are to one another, layer by layer."""
    with writing_to(job.out):
        tell(write_similarity(job.model.suite, job.out))


def draw_landscape(job: WeMoECLI) -> None:
    """Loss and accuracy over the plane of the first two experts' task vectors."""
    suite: Suite = job.model.suite
    if len(suite.experts) < 2:
        raise ConfigError("A landscape lies between two experts: give two with --tasks [a,b].")
    first, second, *_ = suite.experts
    with writing_to(job.out):
        written = write_landscape(
            suite,
            job.datamodule,
            (first, second),
            job.out,
            points=job.settings.points,
            images=job.settings.images,
        )
    tell(written)


def count_parameters(job: WeMoECLI) -> None:
    """How large the upscaled models are, by number of tasks."""
    suite: Suite = job.model.suite
    with writing_to(job.out):
        tell(write_parameters(suite.backbone, UPSCALED, len(suite.tasks), job.out))


def export_model(args: list[str]) -> None:
    """Write a merged model in another format, and upload it where that is asked for."""
    options = export_parser().parse_args(args)
    if options.format != "bundle" and (options.precision or options.dictionary):
        raise ConfigError("--precision and --dictionary are of bundles: set --format bundle.")
    repo = destination(options.push) if options.push else None
    found = open_model(options.source, options.allow)
    subject = (
        found.compressed(parse_compression(options.dictionary)) if options.dictionary else found
    )
    if options.precision:
        subject = subject.cast(getattr(torch, options.precision))
    out = Path(options.out or f"runs/export-{options.format}")
    with held(RunFolder(out).lock, out):
        remove_folders_left(out)
        difference = export(subject, options.format, out, tell_line)
    if subject is not found:
        before = found.features
        lost, largest = largest_difference(subject.features, before), before.abs().max()
        tell_line(f"Stored so, features changed by up to {lost:.2g}; the largest is {largest:.2g}.")
    if repo:
        push(out, repo, difference)
        tell_line(f"{out} is on the hub as {repo}.")


def run_bench(args: list[str]) -> None:
    """Take the measures that the arguments name."""
    options = bench_parser().parse_args(args)
    bench(
        settings_of(options),
        options.measures or BENCH_MEASURES,
        Path(options.out),
        seed=options.seed,
        threads=options.threads,
        command=shlex.join(["wemoe-pl", "bench", *args]),
    )


def settings_of(options: Namespace) -> Settings:
    """Options as settings, or a `ConfigError` that names what is wrong."""
    one_of("measure", options.measures, BENCH_MEASURES)
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


def run_report(args: list[str]) -> None:
    """Write a document or a page of the runs that the arguments name."""
    options = report_parser().parse_args(args)
    shown = TableOptions(
        mean_over_seeds=options.mean_over_seeds,
        references=options.references,
        published=options.published,
        sort=options.sort,
    )
    if not options.html:
        out = None if options.out is None else Path(options.out)
        report(options.folders, options.format, out, shown)
        return
    if values_of(args, "--format", "--out"):
        raise ConfigError(
            "--html makes a page, which is no document in a --format with an --out of its own: "
            "leave both out, or report twice."
        )
    report_page(options.folders, Path(options.html), shown)


def tell(paths: list[Any]) -> None:
    """Say which files were written."""
    for path in paths:
        tell_line(f"{path}")


def tell_line(text: str) -> None:
    """Print a line as it is."""
    Console().print(text, highlight=False, markup=False, soft_wrap=True)
