"""Run a command: a job with Lightning's trainer, or a verb, which needs no trainer."""

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import torch
import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import ArgsType, LightningArgumentParser

from wemoe_pl.callbacks.lightning_private import cause_in_trainer
from wemoe_pl.cli.advise import run_advise
from wemoe_pl.cli.bench import run_bench
from wemoe_pl.cli.faults import faults_explained
from wemoe_pl.cli.job import WeMoECLI, build_job, run_job
from wemoe_pl.cli.job_read import ReadCLI
from wemoe_pl.cli.launchers import refuse_several
from wemoe_pl.cli.options import (
    ALL_CLASSES,
    ALL_CLASSES_OPTION,
    CONFIG,
    LANDSCAPE_OPTIONS,
    VERBS,
    values_of,
)
from wemoe_pl.cli.prepare import prepare, write_heads
from wemoe_pl.cli.sweep.command import sweep
from wemoe_pl.cli.verb_parsers import export_parser, report_parser, workspace_parser
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError
from wemoe_pl.export.bundle import parse_compression
from wemoe_pl.export.loading import open_model
from wemoe_pl.export.one_task import change_in_words, classifier_of
from wemoe_pl.export.push import destination, push
from wemoe_pl.export.writing import check_tools, export, way_back
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.wemoe import EWEMoE, WEMoE
from wemoe_pl.preflight.command import Job, preflight
from wemoe_pl.reporting.analysis import write_landscape, write_parameters, write_similarity
from wemoe_pl.reporting.comparison import TableOptions
from wemoe_pl.reporting.report import report, report_page
from wemoe_pl.reporting.workspace import save_workspace
from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.runs.lock import held
from wemoe_pl.runs.session import writing_to
from wemoe_pl.system.console import Console
from wemoe_pl.system.folders import remove_folders_left
from wemoe_pl.system.hub_repo import HubRepo
from wemoe_pl.system.terminal import guard_output
from wemoe_pl.system.trust import only_allowed
from wemoe_pl.training.lightning_noise import silence_lightning

UPSCALED: dict[str, MergeMethod] = {
    "WEMoE, depth 2": WEMoE(),
    "WEMoE, depth 1": WEMoE(router_depth=1),
    "WEMoE, depth 0": WEMoE(router_depth=0),
    "E-WEMoE, 90 %": EWEMoE(),
}


class CheckCLI(ReadCLI):
    """A `CheckCLI` reads a job for `wemoe-pl check`, and keeps its config as it was given."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the option that shows all classes."""
        super().add_arguments_to_parser(parser)
        parser.add_argument(ALL_CLASSES, **ALL_CLASSES_OPTION)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the arguments, and keep the config before its devices are replaced by one CPU."""
        super().parse_arguments(parser, args)
        self.asked = yaml.safe_load(parser.dump(self.config, skip_unset=False))


class LandscapeCLI(ReadCLI):
    """A `LandscapeCLI` reads a job for the loss landscape between two of its experts."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options for the number of grid points and of images."""
        super().add_arguments_to_parser(parser)
        for name, option in LANDSCAPE_OPTIONS.items():
            parser.add_argument(f"--{name}", **vars(option))


# The verbs whose jobs have keys of their own.
KINDS: dict[str, type[WeMoECLI]] = {"check": CheckCLI, "landscape": LandscapeCLI}


def run(args: list[str]) -> None:
    """Run one command, with or without a trainer.

    Raises:
        WeMoEError: something is wrong that a user can put right.
        Stopped: a signal has asked the command to end.
    """
    silence_lightning()
    guard_output()
    command, *rest = args
    try:
        with faults_explained(cause_in_trainer):
            if command in VERBS:
                run_verb(command, rest)
            else:
                run_job(args)
    except MisconfigurationException as error:
        raise ConfigError(str(error)) from error


def run_verb(verb: str, args: list[str]) -> None:
    """Run a command that has no trainer."""
    refuse_several(verb)
    runs: dict[str, Callable[[list[str]], None]] = {
        "advise": run_advise,
        "bench": run_bench,
        "export": export_model,
        "report": run_report,
        "sweep": sweep,
        "workspace": make_workspace,
    }
    if verb in runs:
        runs[verb](args)
        return
    job = build_job(args, KINDS.get(verb, ReadCLI))
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
    """Print what a job would do, and what is wrong with it."""
    assert isinstance(job, CheckCLI)
    job.datamodule.sets.cached = False  # filling the cache would decode all images
    looked_at = Job(
        job.model,
        job.datamodule,
        job.trainer,
        recipe=job.asked,
        configs=values_of(job.arguments, *CONFIG),
        is_out_given=bool(values_of(job.arguments, "--out")),
        is_checkpoint_given=bool(values_of(job.arguments, "--ckpt_path")),
        full=bool(job.asked.pop(ALL_CLASSES.removeprefix("--"))),
    )
    preflight(looked_at, Console(), quiet=bool(job.asked["quiet"]))


def prepare_job(job: WeMoECLI) -> None:
    """Fetch what a job needs."""
    prepare(job.model, job.datamodule, Console())


def make_heads(job: WeMoECLI) -> None:
    """Build the zero-shot heads of the suite, or the head of one task, and write them to files."""
    suite: Suite = job.model.suite
    tasks = [job.settings.task] if job.settings.task else suite.tasks_with_made_heads
    if not tasks:
        raise ConfigError(
            f"The suite '{suite.name}' has no zero-shot heads: all tasks have heads of their own, "
            "or there is no `text_tower`."
        )
    with writing_to(job.out):
        print_lines(*write_heads(suite, tasks, job.out))


def compare_task_vectors(job: WeMoECLI) -> None:
    """Compare the experts' task vectors with one another, layer by layer."""
    with writing_to(job.out):
        print_lines(*write_similarity(job.model.suite, job.out))


def draw_landscape(job: WeMoECLI) -> None:
    """Draw loss and accuracy over the plane of the first two experts' task vectors."""
    suite: Suite = job.model.suite
    if len(suite.experts) < 2:
        raise ConfigError("A landscape lies between two experts: give two with --tasks [a,b].")
    first, second, *_ = suite.experts
    size = {name: job.settings[name] for name in LANDSCAPE_OPTIONS}
    with writing_to(job.out):
        paths = write_landscape(suite, job.datamodule, (first, second), job.out, **size)
    print_lines(*paths)


def count_parameters(job: WeMoECLI) -> None:
    """Count the parameters of upscaled models, by number of tasks."""
    suite: Suite = job.model.suite
    with writing_to(job.out):
        print_lines(*write_parameters(suite.backbone, UPSCALED, len(suite.tasks), job.out))


def export_model(args: list[str]) -> None:
    """Write a merged model in another format, and upload it if that is asked for."""
    options = export_parser().parse_args(args)
    check_fits_format(options)
    repo = destination(options.push) if options.push else None
    with only_allowed(options.allow):
        write_export(options, repo)


def check_fits_format(options: Namespace) -> None:
    """Raise `ConfigError` for an option of another format, or if the format lacks a tool."""
    if options.format != "bundle" and (options.precision or options.dictionary):
        raise ConfigError(
            "--precision and --dictionary apply only to bundles: set --format bundle."
        )
    if options.format != "timm" and options.task:
        raise ConfigError(
            f"--task makes a plain classifier of timm, and the format {options.format} is not "
            "for that: set --format timm, or leave --task out."
        )
    if options.format != "aoti" and options.device:
        raise ConfigError("--device applies only to native code: set --format aoti.")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device is cuda, and torch finds no GPU here: leave it out.")
    check_tools(options.format)


def write_export(options: Namespace, repo: HubRepo | None) -> None:
    """Write the export that the options describe, read it back, and upload it to a repository."""
    model = original = open_model(options.source)
    if options.dictionary:
        model = original.compressed(parse_compression(options.dictionary))
    if options.precision:
        model = model.cast(getattr(torch, options.precision))
    if options.task:
        model = classifier_of(model, options.task, print_lines)
    if options.device:
        model.classifier.to(options.device)
    out = Path(options.out or f"runs/export-{options.format}")
    with held(RunFolder(out).lock, out):
        remove_folders_left(out)
        difference = export(model, options.format, out, print_lines)
    if model is not original:
        print_lines(change_in_words(model, original))
    print_lines(way_back(out, options.format))
    if repo:
        push(out, repo, difference)
        print_lines(f"{out} is on the hub as {repo}.")


def run_report(args: list[str]) -> None:
    """Write a document or an HTML page on the runs that the arguments name."""
    options = report_parser().parse_args(args)
    if options.family and not options.published:
        raise ConfigError("--family chooses the published rows: give --published as well.")
    shown = TableOptions(
        mean_over_seeds=options.mean_over_seeds,
        references=options.references,
        published=options.published,
        family=options.family,
        sort=options.sort,
    )
    if not options.html:
        out = None if options.out is None else Path(options.out)
        report(options.folders, options.format, out, shown)
        return
    if values_of(args, "--format", "--out"):
        raise ConfigError(
            "--html writes a page, and takes neither --format nor --out: leave both out, or run "
            "`wemoe-pl report` twice."
        )
    report_page(options.folders, Path(options.html), shown)
    print_lines(f"The page is in {options.html}")


def make_workspace(args: list[str]) -> None:
    """Make a workspace on Weights & Biases for the project of a run, and print its address."""
    options = workspace_parser().parse_args(args)
    print_lines(save_workspace(Path(options.run), options.project, options.entity))


def print_lines(*lines: object) -> None:
    """Print lines without wrapping them."""
    Console().print(*lines, sep="\n", soft_wrap=True)
