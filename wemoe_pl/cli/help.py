"""Make the texts of `--help` for every command, without importing torch."""

from argparse import RawDescriptionHelpFormatter
from collections.abc import Iterable
from pathlib import PurePath
from textwrap import fill

from wemoe_pl.cli.options import (
    ALL_CLASSES,
    ALL_CLASSES_OPTION,
    ALLOW_HELP,
    COMMANDS,
    CONFIG,
    FRESH,
    FRESH_OPTION,
    JOB_OPTIONS,
    LANDSCAPE_OPTIONS,
    QUIET,
    QUIET_OPTION,
    SUBCOMMANDS,
    OneSentence,
    command_parser,
    wrong_command,
)
from wemoe_pl.cli.verb_parsers import VERB_PARSERS
from wemoe_pl.errors import ConfigError
from wemoe_pl.system.configs import ALLOW, shipped_configs, shipped_suites, shipped_trainers
from wemoe_pl.system.files import SHIPPED

# The usage of `predict` with a run instead of a job.
RUN_AND_IMAGES = "wemoe-pl predict RUN IMAGES ... [--task TASK] [--out FOLDER]"
ABOUT_IMAGES = (
    "RUN is the folder of a run or export; IMAGES are folders, patterns or files.\n"
    "`wemoe-pl predict RUN --help` lists the options of this form; below are a job's."
)
KEY_EXAMPLES = {"predict": "--data.images my_images or --model.infer_task entropy"}
WIDTH = 78  # characters in a line
# The classes that `--model` takes.
MODELS = ("ExpertFineTuning", "MultiTaskTraining", "SampleMerging", "TestTimeAdaptation")


def parser_of(command: str) -> OneSentence:
    """Return the parser of a command; for an empty name, the parser of `wemoe-pl` itself.

    Raises:
        ConfigError: there is no such command; the error names the nearest one.
    """
    if not command:
        return top_parser()
    if command not in COMMANDS:
        raise ConfigError(wrong_command(command))
    return VERB_PARSERS[command]() if command in VERB_PARSERS else job_parser(command)


def top_parser() -> OneSentence:
    """Make the parser of `wemoe-pl` without a command."""
    commands = "\n  ".join(f"{name:22}{about}" for name, about in COMMANDS.items())
    parser = config_parser("", text_of("top").format(commands=commands))
    parser.add_argument("--version", action="store_true", help="Show the version and exit.")
    return parser


def job_parser(command: str) -> OneSentence:
    """Make the parser of a job for help and completion; Lightning's own parser reads the job."""
    parser = config_parser(command, COMMANDS[command])
    add = parser.add_argument
    if command == "predict":
        parser.usage = f"{RUN_AND_IMAGES}\n       {parser.usage}"
        parser.description = f"{parser.description}\n{ABOUT_IMAGES}"
    add("--suite", help="Models and tasks: a YAML file, or the bare name of a shipped one.")
    add("--seed_everything", metavar="SEED", help="The seed of everything random, from 0.")
    more = LANDSCAPE_OPTIONS if command == "landscape" else {}
    for name, option in (JOB_OPTIONS | more).items():
        add(f"--{name}", help=option.help_and_default)
    add(ALLOW, metavar="PACKAGE", help=ALLOW_HELP)
    if command == "check":
        add(ALL_CLASSES, **ALL_CLASSES_OPTION)
    if command in (*SUBCOMMANDS, "check"):
        add(*QUIET, **QUIET_OPTION)
        start = "A checkpoint to go on from or to score: a file, `last` of --out, or `none`."
        add("--ckpt_path", help=start)
    if command in ("fit", "test", "predict", "check"):
        add(FRESH, **FRESH_OPTION)
    return parser


def config_parser(command: str, description: str) -> OneSentence:
    """Make a parser with the options that all commands with a config have in common."""
    parser = command_parser(
        command,
        description,
        usage=f"wemoe-pl {command or 'COMMAND'} --config CONFIG [--out DIR] [--KEY VALUE ...]",
        epilog=job_epilog(command),
        formatter_class=RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    config = "A YAML file or a shipped name; later ones override."
    add(*CONFIG, help=config)
    add("--print_config", action="store_true", help="Print every key with its value, and exit.")
    return parser


def job_epilog(command: str) -> str:
    """Return the text below the options: examples of setting other keys, and what is shipped."""
    names = [name.removesuffix(".yaml") for name in shipped_configs()]
    return text_of("job").format(
        examples=KEY_EXAMPLES.get(
            command, "--trainer.max_steps 500 or --model.merge.router_depth 1"
        ),
        classes=in_lines(("the options of", *MODELS), " " * 24),
        configs=in_lines(names),
        suites=in_lines(shipped_suites()),
        trainers=" ".join(PurePath(name).stem for name in shipped_trainers()),
    )


def in_lines(names: Iterable[str], indent: str = "  ") -> str:
    """Return names with spaces between, in lines of `WIDTH`; all but the first are indented."""
    return fill(" ".join(names), WIDTH, initial_indent=indent, subsequent_indent=indent).lstrip()


def text_of(name: str) -> str:
    """Read a template from `assets/help`, with fields for what differs between commands."""
    return (SHIPPED / "help" / f"{name}.txt").read_text("utf-8")
