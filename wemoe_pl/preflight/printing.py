"""Print the findings of a check, part by part, in plain tables and sentences."""

from collections.abc import Mapping

from rich.padding import Padding
from rich.table import Table

from wemoe_pl.preflight.findings import Findings
from wemoe_pl.preflight.memory import Memory
from wemoe_pl.system.console import Console
from wemoe_pl.system.disk_space import size_in_words

INDENT = (0, 0, 0, 2)


def print_part(
    console: Console, title: str, facts: Mapping[str, str], table: Table | None = None
) -> None:
    """Print a heading, facts in words, and a table.

    Args:
        console: the console that is printed to.
        title: the heading.
        facts: sentences or values, by their subjects.
        table: a table that is printed below the facts, if it has any row.
    """
    console.print(f"\n{title}", style="bold")
    words = Table.grid(padding=(0, 2))
    words.add_column(no_wrap=True)
    words.add_column(overflow="fold")
    for name, value in facts.items():
        words.add_row(name, value)
    for shown in (words, table):
        if shown is not None and shown.row_count:
            console.print(Padding(shown, INDENT, expand=False))


def memory_facts(memory: Memory, fits: bool, room: int | None) -> dict[str, str]:
    """Put an estimate of memory into words.

    Args:
        memory: the estimate.
        fits: True if anything is trained.
        room: bytes that are free on the device; None if they are not known.
    """
    vectors = f", {size_in_words(memory.task_vectors)} of it for task vectors"
    facts = {"model": size_in_words(memory.model) + (vectors if memory.task_vectors else "")}
    if fits:
        facts["a step"] = f"{size_in_words(memory.step)}, gradients and activations of one batch"
        facts["optimizer"] = size_in_words(memory.optimizer)
        facts["fit, in all"] = size_in_words(memory.fit)
    facts["references"] = size_in_words(memory.references)
    facts["test, in all"] = size_in_words(memory.test)
    if room is not None:
        facts["free here"] = size_in_words(room)
    facts["not counted"] = (
        "torch itself, the workspace of matrix products and of merged MLPs, loaded images, and the "
        "experts while they are merged"
    )
    return facts


def print_findings(console: Console, findings: Findings, quiet: bool) -> None:
    """Print all warnings and problems and, unless `quiet`, a sentence if there is no problem."""
    if size := sum(findings.waiting.values()):
        waiting = f"{size_in_words(size)} are still on the hub, and were not checked"
        console.print(f"\n{waiting}: `wemoe-pl prepare` fetches them.")
    for title, sentences in (("Warnings", findings.warnings), ("Problems", findings.problems)):
        if not sentences:
            continue
        console.print(f"\n{title}", style="bold")
        for sentence in sentences:
            line = Table.grid(padding=(0, 1))
            line.add_column(width=1)
            line.add_column(overflow="fold")
            line.add_row("-", sentence)
            console.print(Padding(line, INDENT, expand=False))
    if not findings.problems and not quiet:
        beside = (
            "but see the warnings above" if findings.warnings else "and there is nothing to warn of"
        )
        console.print(f"\nNothing keeps this job from starting, {beside}.")
