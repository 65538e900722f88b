"""What help tells of every command, and what Lightning's parsers really take."""

import re

import pytest

import wemoe_pl
from wemoe_pl.cli.chosen_classes import choices_of
from wemoe_pl.cli.help import MODELS, job_epilog, job_parser, parser_of, top_parser
from wemoe_pl.cli.job import RunCLI, WeMoECLI, build_job
from wemoe_pl.cli.job_keys import COMMAND_KEYS
from wemoe_pl.cli.options import COMMANDS, JOB_OPTIONS, LANDSCAPE_OPTIONS, SUBCOMMANDS
from wemoe_pl.cli.parser import WeMoEParser
from wemoe_pl.cli.verbs import KINDS
from wemoe_pl.errors import ConfigError
from wemoe_pl.system.configs import ALLOW, shipped_configs, shipped_suites, shipped_trainers
from wemoe_pl.system.jsonargparse_private import subcommand_parsers
from wemoe_pl.training.module import MultiTaskModule

OF_NO_JOB = ("advise", "sweep", "report", "workspace", "export", "serve", "bench", "completion")
OF_JOBS = [command for command in COMMANDS if command not in OF_NO_JOB]
# Keys that are set by their parts, which only a class knows.
NESTED = {
    "--model",
    "--data",
    "--trainer",
    "--checkpoint",
    "--guard",
    "--dashboard",
    "--predictions",
    "--sample_images",
}


# Which parser is whose


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_parser_of_its_name(command: str) -> None:
    parser = parser_of(command)
    assert parser.prog == f"wemoe-pl {command}"
    assert {"-h", "--help"} <= parser.options.keys()


def test_without_a_command_all_of_them_are_told() -> None:
    parser = parser_of("")
    assert parser.format_help() == top_parser().format_help()
    assert "--version" in parser.options
    lines = [line.split(maxsplit=1) for line in top_parser().format_help().splitlines() if line]
    assert [[name, about] for name, about in COMMANDS.items()] == [
        line for line in lines if line[0] in COMMANDS
    ]


@pytest.mark.parametrize("name", ["fti", "Fit", "fit "])
def test_a_command_that_is_none_has_no_parser(name: str) -> None:
    with pytest.raises(ConfigError, match=f"There is no command '{name}'. "):
        parser_of(name)


@pytest.mark.parametrize(
    ("command", "own"),
    [
        ("fit", {"--ckpt_path", "--fresh", "-q", "--quiet"}),
        ("predict", {"--ckpt_path", "--fresh", "-q", "--quiet"}),
        ("validate", {"--ckpt_path", "-q", "--quiet"}),
        ("check", {"--ckpt_path", "--fresh", "--full", "-q", "--quiet"}),
        ("prepare", set()),
        ("landscape", {"--points", "--images"}),
    ],
)
def test_commands_with_a_config_share_all_but_a_few_options(command: str, own: set[str]) -> None:
    shared = {"-h", "--help", "-c", "--config", "--print_config", "--suite", "--seed_everything"}
    shared |= {ALLOW, *(f"--{name}" for name in JOB_OPTIONS)}
    assert job_parser(command).options.keys() == shared | own


def test_help_names_all_that_is_shipped_in_lines_of_a_screen() -> None:
    epilog = job_epilog("fit")
    assert max(map(len, epilog.splitlines())) <= 80
    _, configs, suites = re.split(r"shipped .*:\n", epilog)
    suites, trainers = suites.split("shipped devices, for --config trainer/NAME:")
    names = [name.removesuffix(".yaml") for name in shipped_configs()]
    assert configs.split() == names
    assert suites.split() == shipped_suites()
    assert [f"trainer/{name}.yaml" for name in trainers.split()] == shipped_trainers()
    assert all(name in epilog for name in MODELS)


# What Lightning's parsers take


def real_parser(command: str) -> WeMoEParser:
    """The parser by which a command is really read."""
    made: list[WeMoEParser] = []
    kind = RunCLI if command in SUBCOMMANDS else KINDS.get(command, WeMoECLI)

    class OnlyItsParser(kind):  # type: ignore[misc, valid-type]
        def parse_arguments(self, parser: WeMoEParser, args: object) -> None:
            made.append(parser)
            raise ConfigError("nothing else is wanted")

    with pytest.raises(ConfigError, match="nothing else is wanted"):
        build_job([], OnlyItsParser)
    return subcommand_parsers(made[0]).get(command, made[0])


@pytest.mark.parametrize("command", OF_JOBS)
def test_help_tells_of_every_key_that_is_really_taken_and_of_no_other(command: str) -> None:
    hidden = {f"--{key}" for key in COMMAND_KEYS} | NESTED
    taken = {name for name in real_parser(command)._option_string_actions if "." not in name}
    single = {name for name in taken if not name.endswith("+")}  # `--tasks+` adds to a list
    told = job_parser(command).options.keys() - {ALLOW}  # taken off before: no config has it
    told -= {"-q"} if command == "check" else set()  # read as --quiet before
    assert told <= single
    assert single - told <= hidden


@pytest.mark.parametrize("command", ["fit", "prepare", "landscape"])
def test_defaults_are_told_as_they_are(command: str) -> None:
    defaults = real_parser(command).get_defaults(skip_validation=True)
    options = JOB_OPTIONS | (LANDSCAPE_OPTIONS if command == "landscape" else {})
    assert {name: defaults[name] for name in options} == {
        name: option.default for name, option in options.items()
    }


def test_the_models_are_all_classes_that_can_be_chosen() -> None:
    def below(kind: type) -> set[str]:
        own = {kind.__name__} if kind.__module__.startswith("wemoe_pl.") else set()
        return own.union(*map(below, kind.__subclasses__()))

    assert set(choices_of(MultiTaskModule)) & below(MultiTaskModule) == set(MODELS)
    assert all(issubclass(getattr(wemoe_pl, name), MultiTaskModule) for name in MODELS)
    assert sorted(MODELS) == [*MODELS]
