"""What commands take, as told without torch, and what the parsers that need torch really take."""

import re
from argparse import Namespace

import pytest

import wemoe_pl
from wemoe_pl.bench.names import BENCH_MEASURES, BENCH_SHAPES
from wemoe_pl.cli.commands import COMMANDS, SUBCOMMANDS
from wemoe_pl.cli.job import COMMAND_KEYS, WeMoECLI, read_job
from wemoe_pl.cli.options import (
    JOB_OPTIONS,
    LANDSCAPE_OPTIONS,
    MODELS,
    SHELLS,
    OneSentence,
    Option,
    bench_parser,
    completion_parser,
    export_parser,
    job_epilog,
    job_parser,
    parser_of,
    report_parser,
    sweep_parser,
    top_parser,
    values_of,
)
from wemoe_pl.cli.parser import WeMoEParser, concrete
from wemoe_pl.cli.verbs import KINDS
from wemoe_pl.errors import ConfigError
from wemoe_pl.moe.precision import PRECISIONS
from wemoe_pl.system.configs import ALLOW, shipped_configs, shipped_suites, shipped_trainers
from wemoe_pl.training.module import MultiTaskModule

OF_NO_JOB = ("sweep", "report", "export", "bench", "completion")
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
}


def test_an_error_names_the_option_and_where_help_is() -> None:
    parser = OneSentence(prog="wemoe-pl report")
    parser.add_argument("--format", choices=("csv", "latex"))
    with pytest.raises(ConfigError, match=r"--format: invalid choice.*See wemoe-pl report --help"):
        parser.parse_args(["--format", "word"])


def test_a_parser_tells_its_options_by_all_their_names() -> None:
    parser = OneSentence(add_help=False)
    parser.add_argument("folder")
    action = parser.add_argument("-o", "--out")
    assert parser.options == {"-o": action, "--out": action}


@pytest.mark.parametrize(
    ("default", "told"),
    [(None, "Of the run."), ([], "Of the run."), ("runs", "Of the run. (default: runs)")],
)
def test_an_option_tells_its_default_if_there_is_one(default: object, told: str) -> None:
    assert Option("Of the run.", default=default).told == told


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
    epilog = job_epilog()
    assert max(map(len, epilog.splitlines())) <= 80
    _, configs, suites = re.split(r"shipped .*:\n", epilog)
    suites, trainers = suites.split("shipped devices, for --config trainer/NAME:")
    assert sorted(configs.split()) == [name.removesuffix(".yaml") for name in shipped_configs()]
    assert suites.strip().split(", ") == shipped_suites()
    assert [f"trainer/{name}.yaml" for name in trainers.split()] == shipped_trainers()
    assert all(name in epilog for name in MODELS)


def test_shipped_configs_are_read_downwards() -> None:
    _, lines = job_epilog().split("shipped configs:\n")
    columns = zip(*(line.split() for line in lines.splitlines()[:3]), strict=False)
    names = [name.removesuffix(".yaml") for name in shipped_configs()]
    assert next(columns) == tuple(names[:3])


# What the parsers take that need no torch


def test_a_sweep_hands_on_what_it_does_not_know() -> None:
    given = ["-c", "a", "--config=b", "--grid", "x=1,2", "--dry-run", "--trainer.max_steps", "3"]
    options, others = sweep_parser().parse_known_args(given)
    assert (options.config, options.grid, options.dry_run) == (["a", "b"], ["x=1,2"], True)
    assert (options.out, options.command, options.jobs) == ("runs/sweep", "auto", None)
    assert others == ["--trainer.max_steps", "3"]


@pytest.mark.parametrize("parser", [sweep_parser(), report_parser()], ids=lambda p: p.prog)
def test_an_option_that_is_cut_short_is_not_completed(parser: OneSentence) -> None:
    _, others = parser.parse_known_args(["folder", "--ou", "here"])
    assert "--ou" in others


def test_a_report_is_of_folders_in_one_layout() -> None:
    options = report_parser().parse_args(["a", "b", "--format", "csv", "--sort", "mean"])
    assert (options.folders, options.format, options.sort) == (["a", "b"], "csv", "mean")
    assert (options.out, options.published) == (None, False)
    assert report_parser().parse_args(["a"]).format == "markdown"
    with pytest.raises(ConfigError, match=r"required: DIR\. See wemoe-pl report --help"):
        report_parser().parse_args([])
    with pytest.raises(ConfigError, match=r"--format: invalid choice"):
        report_parser().parse_args(["a", "--format", "word"])


def test_help_of_a_report_fits_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        report_parser().parse_args(["--help"])
    assert leaving.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: wemoe-pl report")
    assert len(out.splitlines()) < 40


def test_a_benchmark_is_of_everything_unless_some_is_chosen() -> None:
    assert bench_parser().parse_args([]) == Namespace(
        measures=[], shapes="vitb32", samples="16", experts="8", depths="2", blocks=None,
        repeats=5, device="cpu", precision="float32", threads=None, seed=0, out="runs/bench",
    )  # fmt: skip
    told = bench_parser().format_help()
    assert all(name in told for name in (*BENCH_MEASURES, *BENCH_SHAPES, *PRECISIONS))


def test_an_export_is_an_adapter_unless_another_format_is_chosen() -> None:
    options = export_parser().parse_args(["runs/demo"])
    assert (options.source, options.format, options.out, options.push) == (
        "runs/demo", "adapter", None, None,
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"argument --format: invalid choice: 'gguf'"):
        export_parser().parse_args(["runs/demo", "--format", "gguf"])


def test_completion_is_of_one_shell() -> None:
    assert completion_parser().parse_args(["zsh"]).shell == "zsh"
    assert all(shell in completion_parser().format_help() for shell in SHELLS)
    with pytest.raises(ConfigError, match="unrecognized arguments: fish"):
        completion_parser().parse_args(["zsh", "fish"])


@pytest.mark.parametrize(
    ("args", "values"),
    [
        ([], []),
        (["--config"], []),
        (["--config", "a", "--config=b", "-c", "c"], ["a", "b", "c"]),
        (["--config=a=b"], ["a=b"]),
        (["--configs", "a", "--out", "--config"], []),
        (["--grid", "config=a"], []),
    ],
)
def test_the_values_of_an_option_are_found_in_all_its_forms(
    args: list[str], values: list[str]
) -> None:
    assert values_of(args, "-c", "--config") == values


# What Lightning's parsers take


def real_parser(command: str) -> WeMoEParser:
    """The parser by which a command is really read."""
    made: list[WeMoEParser] = []
    kind = KINDS.get(command, WeMoECLI)

    class OnlyItsParser(kind):  # type: ignore[misc, valid-type]
        def parse_arguments(self, parser: WeMoEParser, args: object) -> None:
            made.append(parser)
            raise ConfigError("nothing else is wanted")

    with pytest.raises(ConfigError, match="nothing else is wanted"):
        read_job([], run=command in SUBCOMMANDS, kind=OnlyItsParser)
    return made[0].commands.get(command, made[0])


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

    assert set(concrete(MultiTaskModule)) & below(MultiTaskModule) == set(MODELS)
    assert all(issubclass(getattr(wemoe_pl, name), MultiTaskModule) for name in MODELS)
    assert sorted(MODELS) == [*MODELS]
