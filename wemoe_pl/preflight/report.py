"""A check tells its findings in plain tables and sentences, part by part."""

from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from wemoe_pl.errors import harmless
from wemoe_pl.preflight.findings import Findings
from wemoe_pl.preflight.memory import Memory
from wemoe_pl.system.disk_space import size_in_words

INDENT = (0, 0, 0, 2)


def tell_part(
    console: Console, title: str, facts: Mapping[str, str], table: Table | None = None
) -> None:
    """Print a heading, what is to be said in words, and a table.

    Args:
        console: where it is printed.
        title: the heading.
        facts: sentences or values, by what they are about.
        table: what is below them, if it has any row.
    """
    console.print(f"\n[bold]{escape(title)}[/bold]", highlight=False)
    told = Table.grid(padding=(0, 2))
    told.add_column(no_wrap=True)
    told.add_column(overflow="fold")
    for name, value in facts.items():
        told.add_row(escape(name), escape(harmless(value)))
    for each in (told, table):
        if each is not None and each.row_count:
            console.print(Padding(each, INDENT, expand=False), highlight=False)


def memory_facts(memory: Memory, fits: bool, room: int | None) -> dict[str, str]:
    """An estimate in words.

    Args:
        memory: the estimate.
        fits: is anything trained?
        room: bytes that are free on the device; None if that is not known.
    """
    vectors = f", {size_in_words(memory.task_vectors)} of it task vectors"
    told = {"model": size_in_words(memory.model) + (vectors if memory.task_vectors else "")}
    if fits:
        told["a step"] = f"{size_in_words(memory.step)}, gradients and activations of one batch"
        told["optimizer"] = size_in_words(memory.optimizer)
        told["fit, in all"] = size_in_words(memory.fit)
    told["references"] = size_in_words(memory.references)
    told["test, in all"] = size_in_words(memory.test)
    if room is not None:
        told["free here"] = size_in_words(room)
    told["left out"] = (
        "torch itself, work space of its products and of merged MLPs, images that are loaded, "
        "and the experts while they are merged"
    )
    return told


def tell_findings(console: Console, findings: Findings, quiet: bool) -> None:
    """Print all warnings and problems, and unless it is to be quiet that there are none."""
    if size := sum(findings.waiting.values()):
        told = f"{size_in_words(size)} are on the hub and not here, and were not looked at"
        console.print(f"\n{told}: `wemoe-pl prepare` fetches them.", highlight=False)
    for title, sentences in (("Warnings", findings.warnings), ("Problems", findings.problems)):
        if not sentences:
            continue
        console.print(f"\n[bold]{title}[/bold]")
        for sentence in sentences:
            line = Table.grid(padding=(0, 1))
            line.add_column(width=1)
            line.add_column(overflow="fold")
            line.add_row("-", escape(harmless(sentence)))
            console.print(Padding(line, INDENT, expand=False), highlight=False)
    if not findings.problems and not quiet:
        told = "with the warnings above" if findings.warnings else "and nothing to warn of"
        console.print(f"\nNothing keeps this job from starting, {told}.", highlight=False)
