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
            lines = [f"{sentence.text} [{sentence.source}]" for sentence in chosen]
            console.print(Padding(bullets(lines), INDENT, expand=False))
    console.print("\nMethods, by the reason", style="bold")
    console.print(Padding(bullets(reasons_of(verdicts)), INDENT, expand=False))
    console.print("\nMethods, by what they take", style="bold")
    rows = [without_reason(row) for row in verdict_rows(verdicts, costs)]
    console.print(Padding(table_of(rows), INDENT, expand=False))
    console.print(f"\n{LEGEND}")


def reasons_of(verdicts: Sequence[Verdict]) -> list[str]:
    """Return a line for each reason, with the methods that it is about, promising ones first."""
    methods: dict[tuple[str, str], list[str]] = {}
    for verdict in sorted(verdicts, key=verdict_order):
        methods.setdefault((verdict.judgement, verdict.reason), []).append(verdict.method)
    return [
        f"{judgement}: {', '.join(names)}. {reason}"
        for (judgement, reason), names in methods.items()
    ]


def verdict_order(verdict: Verdict) -> int:
    """Return the place of a verdict in tables: promising methods come first."""
    return ORDER.index(verdict.judgement)


def without_reason(row: Sequence[str]) -> list[str]:
    """Return a row without the column of reasons, which are printed once for many methods."""
    place = VERDICT_COLUMNS.index("reason")
    return [cell for column, cell in enumerate(row) if column != place]


def bullets(sentences: Sequence[str]) -> Table:
    """Return sentences one below the other, each behind a dash."""
    lines = Table.grid(padding=(0, 1))
    lines.add_column(width=1)
    lines.add_column(overflow="fold")
    for sentence in sentences:
        lines.add_row("-", sentence)
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
    ordered = sorted(verdicts, key=verdict_order)
    return [VERDICT_COLUMNS, *(verdict_row(verdict, costs[verdict.config]) for verdict in ordered)]


def verdict_row(verdict: Verdict, cost: Cost) -> tuple[str, ...]:
    """Return the row of a method."""
    memory = UNCOUNTED if cost.memory is None else size_in_words(cost.memory)
    arithmetic = UNCOUNTED if cost.arithmetic is None else f"{cost.arithmetic:.2f}×"
    return (
        verdict.method, verdict.judgement, verdict.reason, memory, arithmetic,
        verdict.source or UNCOUNTED,
    )  # fmt: skip
