"""Write tables of runs as Markdown, LaTeX or CSV."""

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
    """Return a share in percent with one decimal, or a dash if it was not measured.

    >>> percent(0.8943), percent(None)
    ('89.4', '–')
    """
    return "–" if share is None else f"{100 * share:.1f}"


@dataclass(frozen=True)
class Cell:
    """A `Cell` holds a value, or the mean of several values.

    Attributes:
        value: the number; None if nothing was measured.
        deviation: the standard deviation; None for a single value.
        form: a function that writes a number; by default as a share in percent.
        least_is_best: True if the least number of a column is the best.
    """

    value: float | None
    deviation: float | None = None
    form: Callable[[float | None], str] = percent
    least_is_best: bool = False

    @classmethod
    def of(cls, values: Sequence[float | None], **look: Any) -> "Cell":
        """Return a cell of the mean and standard deviation (n − 1) of the measured values."""
        known = [value for value in values if value is not None]
        if not known:
            return cls(None, **look)
        return cls(fmean(known), stdev(known) if len(known) > 1 else None, **look)

    @property
    def text(self) -> str:
        """Return the value as it is written, by default as a percentage with one decimal.

        >>> Cell.of([0.5, 0.6]).text, Cell(0.891).text, Cell(None).text
        ('55.0 ± 7.1', '89.1', '–')
        """
        spread = "" if self.deviation is None else f" ± {self.form(self.deviation)}"
        return f"{self.form(self.value)}{spread}"


@dataclass(frozen=True)
class ResultRow:
    """A `ResultRow` holds the numbers of one method.

    Attributes:
        label: the label of the row.
        cells: one cell for each column.
        seeds: the seeds of the runs that the row is made of.
        is_ceiling: True if the method is not compared, since it is told the task of every image.
        family: the family of the checkpoints, for a published row.
        source: the publication of a published row; `OURS` for our own.
    """

    label: str
    cells: list[Cell]
    seeds: list[int] = field(default_factory=list)
    is_ceiling: bool = False
    family: str = ""
    source: str = OURS

    @property
    def origin(self) -> str:
        """Return the footnote on the source of a published row."""
        checkpoints = f"checkpoints of family {self.family}"
        return f"† Published, not run here: {checkpoints}, {self.source}"


@dataclass(frozen=True)
class ResultTable:
    """A `ResultTable` holds our rows, the published rows, and the notes below them."""

    suite: str
    title: str
    corruption: str
    columns: list[str]
    rows: list[ResultRow]
    published: list[ResultRow]
    notes: list[str]
    measured: str = "accuracy, %"

    def best(self, column: int) -> str | None:
        """Return the best text in a column of our rows; None if fewer than two rows compete."""
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
        """Return the published rows, by their origins."""
        grouped: dict[str, list[ResultRow]] = {}
        for row in self.published:
            grouped.setdefault(row.origin, []).append(row)
        return grouped

    def texts(self, row: ResultRow, bold: Callable[[str], str]) -> list[str]:
        """Return the texts of the cells of one of our rows, with the best of each column bold."""
        competes = not row.is_ceiling
        return [
            bold(cell.text) if competes and cell.text == self.best(i) else cell.text
            for i, cell in enumerate(row.cells)
        ]

    @property
    def footnotes(self) -> list[str]:
        """Return the notes, and the origins of the published rows."""
        return [*self.notes, *dict.fromkeys(f"{row.origin}." for row in self.published)]


def markdown(tables: Iterable[ResultTable]) -> str:
    """Return tables as Markdown, each with a heading and notes."""
    return "\n".join(map(markdown_table, tables))


def markdown_table(table: ResultTable) -> str:
    """Return one table as Markdown, with its heading and notes."""
    rows = [
        [row.label, *table.texts(row, lambda text: Markdown(f"**{text}**"))] for row in table.rows
    ]
    rows += [[f"{row.label} †", *(cell.text for cell in row.cells)] for row in table.published]
    notes = "".join(f"\n{as_markdown(note)}\n" for note in table.footnotes)
    body = grid(["method", *table.columns], rows)
    return f"### {as_markdown(table.title)}\n\n{table.caption}.\n\n{body}\n{notes}"


def latex(tables: Iterable[ResultTable]) -> str:
    """Return tables as LaTeX `table` environments, for the package booktabs."""
    return "\n".join(map(latex_table, tables))


def latex_table(table: ResultTable) -> str:
    """Return one table as a LaTeX `table` environment."""
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
    """Return one line of a LaTeX table."""
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
    """Return a line of CSV per row of all tables, with all digits and the metric of its numbers."""
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
