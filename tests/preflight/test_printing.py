"""How what was found is printed."""

from wemoe_pl.preflight.findings import Findings
from wemoe_pl.preflight.memory import Memory
from wemoe_pl.preflight.printing import memory_facts, print_findings, print_part
from wemoe_pl.system.console import Console

MEMORY = Memory(
    model=2_000_000, task_vectors=1_500_000, optimizer=20_000, step=3_000_000,
    references=1_000_000, scoring=500_000,
)  # fmt: skip


def said(findings: Findings, quiet: bool = False) -> str:
    console = Console(width=80)
    with console.capture() as capture:
        print_findings(console, findings, quiet)
    return capture.get()


def test_nothing_found_is_said_in_one_line_and_quietly_in_none() -> None:
    expected = "\nNothing keeps this job from starting, and there is nothing to warn of.\n"
    assert said(Findings()) == expected
    assert said(Findings(), quiet=True) == ""


def test_problems_and_warnings_are_listed_within_80_columns() -> None:
    long = "pets: " + "word " * 40
    lines = said(Findings([long], ["dtd: [b]2 images are skipped."])).splitlines()
    assert lines[1:3] == ["Warnings", "  - dtd: [b]2 images are skipped."]
    assert lines[4] == "Problems"
    assert lines[5].startswith("  - pets: word")
    assert max(map(len, lines)) <= 80
    assert "Nothing keeps" not in "".join(lines)


def test_sums_are_those_of_their_parts() -> None:
    told = memory_facts(MEMORY, fits=True, room=10**9)
    assert told["model"] == "2 MB, 1.5 MB of it for task vectors"
    assert told["fit, in all"] == "5.02 MB"
    assert told["test, in all"] == "3.52 MB"
    assert told["free here"] == "1 GB"
    assert "fit, in all" not in memory_facts(MEMORY, fits=False, room=None)


def test_what_strangers_wrote_is_no_markup() -> None:
    console = Console(width=80)
    with console.capture() as capture:
        print_part(console, "[red]", {"suite": "[/b]"})
    assert capture.get() == "\n[red]\n  suite  [/b]\n"
