"""What commands take that have options of their own."""

from argparse import Namespace

import pytest

from wemoe_pl.bench.names import BENCH_MEASURES, BENCH_SHAPES
from wemoe_pl.cli.options import OneSentence
from wemoe_pl.cli.verb_parsers import (
    SHELLS,
    advise_parser,
    bench_parser,
    completion_parser,
    export_parser,
    report_parser,
    sweep_parser,
)
from wemoe_pl.errors import ConfigError
from wemoe_pl.moe.precision import PRECISIONS


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
    with pytest.raises(ConfigError, match=r"^--format: there is no 'word'\. Valid names: "):
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
        run=None, images=200,
    )  # fmt: skip
    told = bench_parser().format_help()
    assert all(name in told for name in (*BENCH_MEASURES, *BENCH_SHAPES, *PRECISIONS))


def test_an_export_is_an_adapter_unless_another_format_is_chosen() -> None:
    options = export_parser().parse_args(["runs/demo"])
    assert (options.source, options.format, options.out, options.push) == (
        "runs/demo", "adapter", None, None,
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"^--format: there is no 'gguf'\. Valid names: adapter"):
        export_parser().parse_args(["runs/demo", "--format", "gguf"])


def test_completion_is_of_one_shell() -> None:
    assert completion_parser().parse_args(["zsh"]).shell == "zsh"
    assert all(shell in completion_parser().format_help() for shell in SHELLS)
    with pytest.raises(ConfigError, match="unrecognized arguments: fish"):
        completion_parser().parse_args(["zsh", "fish"])


def test_advice_is_about_a_suite_and_reads_no_image_unless_asked() -> None:
    assert advise_parser().parse_args(["--suite", "miniature"]) == Namespace(
        suite="miniature", images=0, out="runs/advice", allow=[]
    )
    with pytest.raises(ConfigError, match=r"required: --suite\. See wemoe-pl advise --help"):
        advise_parser().parse_args([])
