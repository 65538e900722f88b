"""Tables as Markdown, LaTeX and CSV: the same rows, written three ways."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from wemoe_pl.reporting.markdown import Markdown, as_markdown, grid
from wemoe_pl.system.files import SHIPPED
from wemoe_pl.system.spreadsheets import csv_cells

OURS = "this program"
LATEX_ESCAPES = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": "\\textbackslash{}", "^": "\\textasciicircum{}", "~": "\\textasciitilde{}",
    "±": "$\\pm$", "†": "$\\dagger$", "–": "--",
}  # fmt: skip


def percent(share: float | None) -> str:
    """Write a share as percent with one decimal, and a dash for what was not measured.

    >>> percent(0.8943), percent(None)
    ('89.4', '–')
    """
    return "–" if share is None else f"{100 * share:.1f}"


@dataclass(frozen=True)
class Cell:
    """A value, or the mean of several; None where nothing was measured.

    Attributes:
        value: the number.
        deviation: the standard deviation, of several.
        form: writes a number, by default a share in percent.
        least_is_best: is the least number of a column the best?
    """

    value: float | None
    deviation: float | None = None
    form: Callable[[float | None], str] = percent
    least_is_best: bool = False

    @classmethod
    def of(cls, values: Sequence[float | None], **look: Any) -> "Cell":
        """The mean and the standard deviation (n − 1) of what was measured."""
        known = [value for value in values if value is not None]
        if not known:
            return cls(None, **look)
        return cls(fmean(known), stdev(known) if len(known) > 1 else None, **look)

    @property
    def text(self) -> str:
        """Return the value as it is written: a share in percent, with one decimal.

        >>> Cell.of([0.5, 0.6]).text, Cell(0.891).text, Cell(None).text
        ('55.0 ± 7.1', '89.1', '–')
        """
        spread = "" if self.deviation is None else f" ± {self.form(self.deviation)}"
        return f"{self.form(self.value)}{spread}"


@dataclass(frozen=True)
class ResultRow:
    """One method's numbers.

    Attributes:
        label: what the row is called.
        cells: one number for each column.
        seeds: the seeds of the runs that it is made of.
        is_ceiling: is it out of the competition, as what is told the task of every image?
        family: of the checkpoints, if it is published.
        source: where it was published; `OURS` if nowhere.
    """

    label: str
    cells: list[Cell]
    seeds: list[int] = field(default_factory=list)
    is_ceiling: bool = False
    family: str = ""
    source: str = OURS

    @property
    def origin(self) -> str:
        """Return where a published row is from, as it stands below a table."""
        checkpoints = f"checkpoints of family {self.family}"
        return f"† Published, not run here: {checkpoints}, {self.source}"


@dataclass(frozen=True)
class ResultTable:
    """A table: our rows, the published ones, and what must be said below."""

    suite: str
    title: str
    corruption: str
    columns: list[str]
    rows: list[ResultRow]
    published: list[ResultRow]
    notes: list[str]
    measured: str = "accuracy, %"

    def best(self, column: int) -> str | None:
        """The best text of a column, ceilings aside, if there are two of our rows to compare."""
        cells = [row.cells[column] for row in self.rows if not row.is_ceiling]
        known = [cell for cell in cells if cell.value is not None]
        if len(known) < 2:
            return None
        best = min if known[0].least_is_best else max
        return best(known, key=lambda cell: cell.value or 0.0).text

    @property
    def caption(self) -> str:
        """Return the metric of the table, with its unit."""
        return self.measured.capitalize()

    @property
    def published_by_origin(self) -> dict[str, list[ResultRow]]:
        """The published rows, by where they are from."""
        grouped: dict[str, list[ResultRow]] = {}
        for row in self.published:
            grouped.setdefault(row.origin, []).append(row)
        return grouped

    def texts(self, row: ResultRow, bold: Callable[[str], str]) -> list[str]:
        """The cells of one of our rows, the best of each column emphasised."""
        competes = not row.is_ceiling
        return [
            bold(cell.text) if competes and cell.text == self.best(i) else cell.text
            for i, cell in enumerate(row.cells)
        ]

    @property
    def footnotes(self) -> list[str]:
        """The notes, and where the published rows are from."""
        return [*self.notes, *dict.fromkeys(f"{row.origin}." for row in self.published)]


def markdown(tables: Iterable[ResultTable]) -> str:
    """Write a heading, a table and notes for each."""
    return "\n".join(map(markdown_table, tables))


def markdown_table(table: ResultTable) -> str:
    """Write one table below its heading."""
    rows = [
        [row.label, *table.texts(row, lambda text: Markdown(f"**{text}**"))] for row in table.rows
    ]
    rows += [[f"{row.label} †", *(cell.text for cell in row.cells)] for row in table.published]
    notes = "".join(f"\n{as_markdown(note)}\n" for note in table.footnotes)
    body = grid(["method", *table.columns], rows)
    return f"### {as_markdown(table.title)}\n\n{table.caption}.\n\n{body}\n{notes}"


def latex(tables: Iterable[ResultTable]) -> str:
    """Write a `table` environment for each, for the package booktabs."""
    return "\n".join(map(latex_table, tables))


def latex_table(table: ResultTable) -> str:
    """Write one table as an environment of its own."""
    lines = [latex_line(["method", *table.columns]), "\\midrule"]
    for row in table.rows:
        cells = table.texts(row, lambda text: f"\\textbf{{{text}}}")
        lines.append(latex_line([row.label, *cells]))
    if table.published:
        lines.append("\\midrule")
    lines += [latex_line([f"{r.label} †", *(c.text for c in r.cells)]) for r in table.published]
    what, unit = table.caption.rsplit(", ", 1)
    about = f"{what} on {table.title}, {unit}."
    caption = escaped(" ".join([about, *table.footnotes]))
    template = (SHIPPED / "table.tex").read_text("utf-8")
    return template % (caption, "r" * len(table.columns), "\n".join(lines))


def latex_line(cells: Iterable[str]) -> str:
    """Write one line of a table."""
    return " & ".join(map(escaped, cells)) + r" \\"


def escaped(text: str) -> str:
    r"""Escape text for LaTeX, leaving bold parts alone.

    >>> escaped(r"adapt_on 5 %"), escaped(r"\textbf{89.1 ± 0.2}")
    ('adapt\\_on 5 \\%', '\\textbf{89.1 $\\pm$ 0.2}')
    """
    if bold := re.fullmatch(r"\\textbf\{(.*)\}", text):
        return f"\\textbf{{{escaped(bold[1])}}}"
    return "".join(LATEX_ESCAPES.get(character, character) for character in text)


def as_csv(tables: Iterable[ResultTable]) -> str:
    """Write one line per row of all tables, with all digits, and what its numbers measure."""
    tables = list(tables)
    columns = list(dict.fromkeys(column for table in tables for column in table.columns))
    header = [
        "suite", "experiment", "corruption", "measured", "source", "checkpoint_family", "method",
        "seeds",
    ]  # fmt: skip
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(csv_cells([*header, *columns]))
    for table in tables:
        for row in (*table.rows, *table.published):
            values = dict(zip(table.columns, (cell.value for cell in row.cells), strict=True))
            seeds = " ".join(map(str, row.seeds))
            measured = table.measured.rpartition(", ")[0]  # without the unit
            about = [table.suite, table.title, table.corruption, measured, row.source, row.family]
            numbers = [values.get(column) for column in columns]
            writer.writerow(csv_cells([*about, row.label, seeds, *numbers]))
    return file.getvalue()


LAYOUTS: dict[str, Callable[[Iterable[ResultTable]], str]] = {
    "markdown": markdown,
    "csv": as_csv,
    "latex": latex,
}
