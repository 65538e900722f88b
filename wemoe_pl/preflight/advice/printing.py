"""Print advice: the sentences, then a table of the methods."""

from collections.abc import Mapping, Sequence

from rich.padding import Padding
from rich.table import Table

from wemoe_pl.preflight.advice.costs import Cost
from wemoe_pl.preflight.advice.methods import Verdict
from wemoe_pl.preflight.advice.sentences import Sentence
from wemoe_pl.preflight.printing import INDENT
from wemoe_pl.system.console import Console
from wemoe_pl.system.disk_space import size_in_words

ORDER = ("promising", "doubtful", "open")
VERDICT_COLUMNS = ("method", "verdict", "reason", "memory", "MLPs", "source")
UNCOUNTED = "–"
LEGEND = (
    "promising: expected above the pretrained model at published settings (WEMoE: above task "
    "arithmetic). doubtful: not expected above it. open: no figure speaks for or against it. "
    "memory: of a job, estimated, with 16 images per task in a step or 32 in a test. MLPs: their "
    "multiply-adds for an image, relative to one model."
)


def print_advice(
    console: Console,
    suite: str,
    sentences: Sequence[Sentence],
    verdicts: Sequence[Verdict],
    costs: Mapping[str, Cost],
) -> None:
    """Print what was found, warnings first, and what follows for each method."""
    warnings = [sentence for sentence in sentences if sentence.warns]
    others = [sentence for sentence in sentences if not sentence.warns]
    for title, chosen in (("Warnings", warnings), ("Nothing to warn of", others)):
        if chosen:
            console.print(f"\n{title}, {suite}", style="bold")
            console.print(Padding(lines_of(chosen), INDENT, expand=False))
    console.print("\nMethods", style="bold")
    console.print(Padding(table_of(verdict_rows(verdicts, costs)), INDENT, expand=False))
    console.print(f"\n{LEGEND}")


def lines_of(sentences: Sequence[Sentence]) -> Table:
    """Return sentences with their sources, one below the other."""
    lines = Table.grid(padding=(0, 1))
    lines.add_column(width=1)
    lines.add_column(overflow="fold")
    for sentence in sentences:
        lines.add_row("-", f"{sentence.text} [{sentence.source}]")
    return lines


def table_of(rows: Sequence[Sequence[str]]) -> Table:
    """Return rows as a table, whose first row has the titles."""
    titles, *cells = rows
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    for title in titles:
        narrow = title in ("memory", "MLPs")
        table.add_column(title, overflow="fold", justify="right" if narrow else "left")
    for row in cells:
        table.add_row(*row)
    return table


def verdict_rows(verdicts: Sequence[Verdict], costs: Mapping[str, Cost]) -> list[tuple[str, ...]]:
    """Return the titles and a row for each method, promising ones first."""
    ordered = sorted(verdicts, key=lambda verdict: ORDER.index(verdict.judgement))
    return [VERDICT_COLUMNS, *(row_of(verdict, costs[verdict.config]) for verdict in ordered)]


def row_of(verdict: Verdict, cost: Cost) -> tuple[str, ...]:
    """Return the row of a method."""
    memory = UNCOUNTED if cost.memory is None else size_in_words(cost.memory)
    arithmetic = UNCOUNTED if cost.arithmetic is None else f"{cost.arithmetic:.2f}×"
    return (
        verdict.method, verdict.judgement, verdict.reason, memory, arithmetic,
        verdict.source or UNCOUNTED,
    )  # fmt: skip
