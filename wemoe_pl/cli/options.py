"""The options of every command and its help, as far as they are known without importing torch."""

from argparse import Action, ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise, zip_longest
from pathlib import PurePath
from typing import Any, NoReturn

from wemoe_pl.bench.names import BENCH_MEASURES, BENCH_NOTE, BENCH_SHAPES
from wemoe_pl.cli.commands import COMMANDS, SUBCOMMANDS, wrong_command
from wemoe_pl.errors import ConfigError
from wemoe_pl.export.names import EXPORT_FORMATS
from wemoe_pl.moe.precision import PRECISIONS
from wemoe_pl.reporting.table import LAYOUTS
from wemoe_pl.system.configs import ALLOW, shipped_configs, shipped_suites, shipped_trainers
from wemoe_pl.system.files import expanded

# The classes that `--model` takes.
MODELS = ("ExpertFineTuning", "MultiTaskTraining", "SampleMerging", "TestTimeAdaptation")
SHELLS = ("bash", "zsh", "fish")
CONFIG = ("-c", "--config")
JOB_USAGE = "--config CONFIG [--out DIR] [--KEY VALUE ...]"
JOB_EPILOG = """\
  --KEY VALUE           any other key of the config, for example
                        --trainer.max_steps 500 or --model.merge.router_depth 1
  --model.help CLASS    the options of a class:
                        {classes}

shipped configs:
  {configs}
shipped suites, for --suite:
  {suites}
shipped devices, for --config trainer/NAME: {trainers}
"""
TOP = """\
Merge fine-tuned vision transformers into one multi-task model.

commands, each with a --help of its own:
  {commands}
"""


@dataclass(frozen=True)
class Option:
    """An option that commands have beside the keys of their model, data and trainer."""

    help: str
    type: Any = str
    default: Any = None

    @property
    def told(self) -> str:
        """Its help, with the default if there is one."""
        return f"{self.help} (default: {self.default})" if self.default else self.help


JOB_OPTIONS = {
    "task": Option("One task of the suite.", str | None),
    "tasks": Option("Only these tasks of the suite, such as [cars,gtsrb].", list[str] | None),
    "unseen": Option(
        "Tasks whose experts are left out, and that are scored all the same.", list[str], []
    ),
    "out": Option("Folder of the run.", expanded, "runs/latest"),
}
ALLOW_HELP = "A package that you trust, of which configs may name classes too; can be repeated."
QUIET = ("-q", "--quiet")
QUIET_OPTION: dict[str, Any] = {
    "action": "store_true",
    "help": "Print nothing but what goes wrong.",
}
FRESH = "--fresh"
FRESH_OPTION: dict[str, Any] = {
    "action": "store_true",
    "help": "Begin anew, and replace the run in --out when the new one has finished.",
}
FULL = "--full"
FULL_OPTION: dict[str, Any] = {
    "action": "store_true",
    "help": "Tell all classes, and whole names of images.",
}
LANDSCAPE_OPTIONS = {
    "points": Option("Of the landscape's grid, on each axis.", int, 11),
    "images": Option("Of each task, that the landscape is measured on.", int, 256),
}


class OneSentence(ArgumentParser):
    """An argument parser whose errors are like all others."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise ConfigError(f"{message}. See {self.prog} --help.")

    @property
    def options(self) -> dict[str, Action]:
        """All that begins with a dash."""
        return self._option_string_actions


def parser_of(command: str) -> OneSentence:
    """What a command is given; for none, what is given before one.

    Raises:
        ConfigError: there is no such command; names the nearest.
    """
    if not command:
        return top_parser()
    if command not in COMMANDS:
        raise ConfigError(wrong_command(command))
    own: dict[str, Callable[[], OneSentence]] = {
        "bench": bench_parser,
        "completion": completion_parser,
        "export": export_parser,
        "report": report_parser,
        "sweep": sweep_parser,
    }
    return own[command]() if command in own else job_parser(command)


def top_parser() -> OneSentence:
    """What `wemoe-pl` is given without a command."""
    commands = "\n  ".join(f"{name:22}{about}" for name, about in COMMANDS.items())
    parser = config_parser("wemoe-pl", f"COMMAND {JOB_USAGE}", TOP.format(commands=commands))
    parser.add_argument("--version", action="store_true", help="Show the version and exit.")
    return parser


def job_parser(command: str) -> OneSentence:
    """What a command with a config is given. Lightning parses it, and takes seconds to import."""
    parser = config_parser(f"wemoe-pl {command}", JOB_USAGE, COMMANDS[command])
    add = parser.add_argument
    add("--suite", help="Models and tasks: YAML file, or the bare name of a shipped one.")
    add("--seed_everything", metavar="SEED", help="Of everything random: a number from 0.")
    more = LANDSCAPE_OPTIONS if command == "landscape" else {}
    for name, option in (JOB_OPTIONS | more).items():
        add(f"--{name}", help=option.told)
    add(ALLOW, metavar="PACKAGE", help=ALLOW_HELP)
    if command == "check":
        add(FULL, **FULL_OPTION)
    if command in (*SUBCOMMANDS, "check"):
        add(*QUIET, **QUIET_OPTION)
        add(
            "--ckpt_path",
            help="Checkpoint to go on from, or to score; `last` is that of --out, `none` is none.",
        )
    if command in ("fit", "test", "predict", "check"):
        add(FRESH, **FRESH_OPTION)
    return parser


def config_parser(program: str, usage: str, description: str) -> OneSentence:
    """What all commands with a config have in common."""
    parser = OneSentence(
        prog=program,
        usage=f"{program} {usage}",
        description=description,
        epilog=job_epilog(),
        formatter_class=RawDescriptionHelpFormatter,
        add_help=False,
    )
    add = parser.add_argument
    add("-h", "--help", action="store_true", help="Show this help message and exit.")
    add(
        *CONFIG,
        help="YAML file, or the bare name of a shipped one; can be repeated, later ones win.",
    )
    add("--print_config", action="store_true", help="Print every key with its value, and exit.")
    return parser


def job_epilog() -> str:
    """How other keys are set, and what is shipped."""
    names = [name.removesuffix(".yaml") for name in shipped_configs()]
    third = (len(names) + 2) // 3
    columns = (names[i * third : (i + 1) * third] for i in range(3))
    rows = zip_longest(*columns, fillvalue="")
    return JOB_EPILOG.format(
        classes=f"\n{' ' * 24}".join(MODELS),
        configs="\n  ".join("".join(f"{name:26}" for name in row).rstrip() for row in rows),
        suites=", ".join(shipped_suites()),
        trainers=" ".join(PurePath(name).stem for name in shipped_trainers()),
    )


def sweep_parser() -> OneSentence:
    """What `wemoe-pl sweep` is given, beside what it hands on."""
    parser = OneSentence(
        prog="wemoe-pl sweep",
        allow_abbrev=False,
        description="A job for every point of a grid, one after another or several at once. Every "
        "point is a command of its own, `wemoe-pl fit --config … --KEY=VALUE …`, and so composes "
        "with the sweeps of Weights & Biases, whose agents call the same command with the same "
        "keys.",
    )
    add = parser.add_argument
    add(*CONFIG, action="append", default=[], help="as for fit")
    add(
        "--grid",
        action="append",
        default=[],
        metavar="KEY=A,B,C",
        help="values to try; can be repeated; KEY may be `config`",
    )
    add("--out", type=expanded, default="runs/sweep", help="folder, with one below it per point")
    add(
        "--command",
        choices=("auto", "fit", "test"),
        default="auto",
        help="by default test for a static merge, which has nothing to fit, else fit",
    )
    add(FRESH, action="store_true", help="run all points anew")
    add("--jobs", type=int, default=None, help="how many run at once")
    add("--gpus", help="numbers such as 0,1: one job at a time on each")
    add("--choose", action="store_true", help="mark the best without labels, in chosen.json")
    add("--dry-run", action="store_true", help="only print the commands")
    return parser


def report_parser() -> OneSentence:
    """What `wemoe-pl report` is given."""
    parser = OneSentence(
        prog="wemoe-pl report",
        allow_abbrev=False,
        description="One document of many runs, as Markdown, CSV or LaTeX, or a page of HTML.",
    )
    add = parser.add_argument
    add("folders", nargs="+", type=expanded, metavar="DIR", help="runs, or folders of runs")
    add("--format", choices=tuple(LAYOUTS), default="markdown")
    add("--out", type=expanded, metavar="FILE", help="where to; by default it is printed")
    add(
        "--html",
        type=expanded,
        metavar="FILE",
        help="instead, a page with a section for every run; without --format and --out",
    )
    add("--mean-over-seeds", action="store_true", help="one row for runs that differ in the seed")
    add("--references", action="store_true", help="rows for what the runs were compared with")
    add("--published", action="store_true", help="the published rows of the same experiment below")
    add("--sort", choices=("mean",), help="rows by their mean")
    return parser


def export_parser() -> OneSentence:
    """What `wemoe-pl export` is given."""
    parser = OneSentence(
        prog="wemoe-pl export",
        allow_abbrev=False,
        description="Write a merged model for others to use, read it back, and compare. An adapter "
        "holds what was learned, and is made whole from the same pretrained model and experts; all "
        "other formats hold everything.",
    )
    add = parser.add_argument
    add(
        "source",
        type=expanded,
        metavar="DIR",
        help="a run, a checkpoint of one, or an adapter, here or on the hub",
    )
    add("--format", choices=EXPORT_FORMATS, default="adapter")
    add("--out", type=expanded, metavar="DIR", help="where to; by default runs/export-FORMAT")
    add("--precision", choices=PRECISIONS, help="of a bundle; by default as it is")
    add(
        "--dictionary",
        metavar="FORM",
        help="of a bundle's task vectors: dense, pruned=SHARE that is left out, or low-rank=RANK; "
        "by default as it is",
    )
    add(ALLOW, metavar="PACKAGE", action="append", default=[], help=ALLOW_HELP)
    add("--push", metavar="USER/NAME", help="also upload it to the hub, with a model card")
    return parser


def bench_parser() -> OneSentence:
    """What `wemoe-pl bench` is given."""
    parser = OneSentence(
        prog="wemoe-pl bench",
        allow_abbrev=False,
        description=f"Time and memory. {BENCH_NOTE}",
    )
    add = parser.add_argument
    add("measures", nargs="*", help=f"Of {', '.join(BENCH_MEASURES)}; by default all.")
    shapes = ", ".join(BENCH_SHAPES)
    add("--shapes", default="vitb32", help=f"Of {shapes}, with commas between them.")
    add("--samples", default="16", help="In a batch; per task in a batch of an encoder.")
    add("--experts", default="8", help="Numbers of experts.")
    add("--depths", default="2", help="Of routers, 0 to 2.")
    add("--blocks", type=int, help="Of encoders at most; by default all.")
    add("--repeats", type=int, default=5, help="Of each timing, of which the median counts.")
    add("--device", default="cpu", help="cpu or cuda.")
    add("--precision", default="float32", help=f"Of {', '.join(PRECISIONS)}.")
    add("--threads", type=int, help="Of a CPU; by default what torch takes.")
    add("--seed", type=int, default=0, help="Of the random weights.")
    add("--out", type=expanded, default="runs/bench", help="Folder of bench.json.")
    return parser


def completion_parser() -> OneSentence:
    """What `wemoe-pl completion` is given."""
    parser = OneSentence(
        prog="wemoe-pl completion",
        description="Print a script for a shell to source, which then completes commands, their "
        "options, and what is shipped: `source <(wemoe-pl completion bash)`, the same for zsh, or "
        "`wemoe-pl completion fish | source`.",
    )
    parser.add_argument("shell", metavar="SHELL", help=f"one of {', '.join(SHELLS)}")
    return parser


def values_of(args: Sequence[str], *names: str) -> list[str]:
    """The values that an option is given, whichever of its names is used.

    >>> values_of(["-c", "a", "--out", "b", "--config=c"], "-c", "--config")
    ['a', 'c']
    """
    split = (arg.split("=", 1) if arg.startswith("--") else [arg] for arg in args)
    return [value for name, value in pairwise(chain.from_iterable(split)) if name in names]
