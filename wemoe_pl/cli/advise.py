"""Run `wemoe-pl advise`: check its options, make the advice, print it and write it."""

from pathlib import Path

from wemoe_pl.cli.verb_parsers import advise_parser
from wemoe_pl.errors import at_least
from wemoe_pl.model.recipe import read_suite
from wemoe_pl.preflight.advice.advising import advise
from wemoe_pl.preflight.advice.printing import print_advice
from wemoe_pl.preflight.folder import check_writable
from wemoe_pl.runs.session import writing_to
from wemoe_pl.system.console import Console


def run_advise(args: list[str]) -> None:
    """Print the advice on a suite, and write it into a folder."""
    options = advise_parser().parse_args(args)
    at_least(0, "--images", options.images)
    suite = read_suite(options.suite, options.allow)
    out = Path(options.out)
    check_writable(out)
    advice = advise(suite, options.images)
    console = Console()
    print_advice(console, advice.suite, *advice.parts)
    with writing_to(out):
        written = advice.write(out)
    console.print(*written, sep="\n", soft_wrap=True)
