"""One page of many runs: a single file of HTML that fetches nothing.

What it tells of a run is put together here; `assets/page` says how it looks.
"""

import csv
import hashlib
import io
import shlex
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, product
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from PIL import Image

from wemoe_pl import __version__
from wemoe_pl.errors import CheckpointError, DataError
from wemoe_pl.merging.spelling import spelled
from wemoe_pl.reporting.analysis import ROUTING_COLUMNS, ROUTING_FILE
from wemoe_pl.reporting.table import ResultTable, percent
from wemoe_pl.reporting.templates import template_in
from wemoe_pl.reporting.without_labels import label_free_columns, unlabelled_tasks
from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.system.files import SHIPPED, atomic_write, remove_leftovers_of
from wemoe_pl.system.spreadsheets import csv_text
from wemoe_pl.training.metrics import mean

ASSETS = SHIPPED / "page"
AGAIN = "runs/again"  # where a command goes that makes a run anew
# What each figure shows that a run may have left, by the stem of its file.
FIGURE_CAPTIONS = {
    "accuracy": "Accuracy on every task, beside the references",
    "agreement": "How often the answer is that of a task's own expert, beside the references",
    "adaptation": "The answers in the course of the adaptation, from before its first step",
    "routing": "Mean routing weights of every block, for the images of each task",
    "routing_share": "How often a task's own expert has the largest routing weight, by block",
    "confusion": "What each class was taken for, in the task of least accuracy",
}
# The media types of a figure's files, of which the first that lies there is shown.
MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}
SVG_ROOTS = ("svg", "{http://www.w3.org/2000/svg}svg")


class EmbeddedFigure(NamedTuple):
    """A figure, as a page holds it in itself."""

    uri: str
    caption: str


def label_free_facts(results: Mapping[str, Any]) -> dict[str, str]:
    """Return the means of what needs no labels, of a run that lacks some: an arrow leads to each.

    They are over all tasks.
    """
    if not unlabelled_tasks(results):
        return {}
    ends = results.get("adaptation")
    scores = [ends[name]["scores"] for name in ("before", "after")] if ends else [results]
    columns = [label_free_columns(one) for one in scores]
    return {
        metric.label: " → ".join(metric.text(mean(column[metric])) for column in columns)
        for metric in columns[0]
    }


@dataclass(frozen=True)
class Section:
    """The section of a page about one run.

    Attributes:
        label: what the run's row is called in a table without means over seeds.
        folder: the folder of the run.
        results: the contents of its `results.json`.
    """

    label: str
    folder: Path
    results: Mapping[str, Any]

    @property
    def anchor(self) -> str:
        """The place of the section in the page, the same whatever other runs there are."""
        return f"run-{hashlib.sha256(str(self.folder).encode(errors='replace')).hexdigest()[:10]}"

    @property
    def facts(self) -> dict[str, str]:
        """The facts that are told in a few words, without those that are not known."""
        results = self.results
        parameters, seconds = results.get("parameters"), results.get("seconds")
        facts = {
            "method": spelled(results["method"]),
            "suite": results["suite"],
            "seed": results.get("seed"),
            "mean": with_sign(results["mean"]),
            "normalized mean": with_sign(results.get("normalized_mean")),
            "tasks without labels": ", ".join(unlabelled_tasks(results)) or None,
            **label_free_facts(results),
            "parameters": parameters and "{total:,} ({trainable:,} trained)".format(**parameters),
            "partial": results.get("partial"),
            "curves": results.get("curves"),
            "history": "; ".join(results.get("run", {}).get("history", [])) or None,
            "seconds": seconds and ", ".join(f"{name} {s:,.1f}" for name, s in seconds.items()),
        }
        return {name: str(value) for name, value in facts.items() if value is not None}

    @property
    def command(self) -> str | None:
        """The command that makes the run again, as it was given or by its config, if known."""
        if command := self.results.get("command"):
            return str(command)
        run = RunFolder(self.folder)
        if not run.config.is_file():
            return None
        verb = "fit" if "guard" in self.results or run.checkpoints.is_dir() else "test"
        return shlex.join(["wemoe-pl", verb, "--config", str(run.config), "--out", AGAIN])

    @property
    def figures(self) -> list[EmbeddedFigure]:
        """The figures that lie in the folder, as vectors where there are any.

        Raises:
            DataError: one of them cannot be read.
        """
        figures = []
        for stem, caption in FIGURE_CAPTIONS.items():
            paths = [self.folder / f"{stem}{suffix}" for suffix in MEDIA_TYPES]
            if path := next(filter(Path.is_file, paths), None):
                figures.append(EmbeddedFigure(data_uri(path), caption))
        return figures

    @property
    def routing(self) -> dict[str, Any] | None:
        """The routing weights, see `read_routing`, and the one that adaptation began with.

        It is None if there were no routers.
        """
        path = self.folder / ROUTING_FILE
        if not path.is_file():
            return None
        options = (self.results.get("merge") or {}).get("init_args", {})
        return read_routing(path) | {"start": options.get("init_lambda", 0)}


@dataclass(frozen=True)
class Experiment:
    """The tables of some runs, and the runs that they are made of.

    Attributes:
        tables: a row leads to the section of its run; of tasks without labels there is a second.
        sections: one for every run.
    """

    tables: Sequence[ResultTable]
    sections: Sequence[Section]

    @property
    def table(self) -> ResultTable:
        """The table that the runs are compared by."""
        return self.tables[0]

    def anchor(self, label: str) -> str | None:
        """Find the section of a row, unless the row is of several runs or of none."""
        found = [section.anchor for section in self.sections if section.label == label]
        return found[0] if len(found) == 1 else None

    @property
    def without_a_row(self) -> list[Section]:
        """The runs to which no row leads."""
        reached = {self.anchor(row.label) for row in self.table.rows}
        return [section for section in self.sections if section.anchor not in reached]


def write_page(
    path: Path, experiments: Sequence[Experiment], folders: Sequence[str], sort: str | None = None
) -> None:
    """Write a page of many runs, whole or not at all.

    Args:
        path: the file.
        experiments: the tables and runs that the page tells of.
        folders: where the runs were found, as they were given.
        sort: the column that rows are sorted by already, if they are.

    Raises:
        CheckpointError: a `routing.csv` is damaged.
        DataError: a figure cannot be read.
        WeMoEError: the page cannot be written.
    """
    style, script = ((ASSETS / name).read_text("utf-8") for name in ("style.css", "script.js"))
    page = template_in(ASSETS, "report.html.jinja", autoescape=True).render(
        experiments=experiments,
        folders=folders,
        sort=sort,
        notes=notes_of(experiments),
        made=datetime.now(UTC),
        version=__version__,
        policy=policy(style, script),
        style=style,
        script=script,
    )
    remove_leftovers_of(path)
    with atomic_write(path) as temporary:
        temporary.write_text(page, "utf-8", errors="replace")  # JSON may hold half a character


def notes_of(experiments: Sequence[Experiment]) -> dict[str, str]:
    """Collect what must be said of the suites, by their names."""
    every = (section.results for experiment in experiments for section in experiment.sections)
    return {results["suite"]: results["note"] for results in every if results.get("note")}


def policy(style: str, script: str) -> str:
    """Say what a page may do: apply this style, run this script, show the figures inside it."""
    return (
        f"default-src 'none'; style-src {allowed(style)}; script-src {allowed(script)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def allowed(text: str) -> str:
    """Name an inline text as a Content-Security-Policy does.

    >>> allowed("")
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
    """
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def with_sign(share: float | None) -> str | None:
    """Write a share in percent, with the sign; None if it was not measured."""
    return None if share is None else f"{percent(share)} %"


def data_uri(path: Path) -> str:
    """Write a figure as a URI that holds all of it.

    Raises:
        DataError: it is damaged, or cannot be read.
    """
    try:
        contents = path.read_bytes()
        check_figure(contents, path.suffix)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as a picture: delete it, or make the run again."
        ) from error
    return f"data:{MEDIA_TYPES[path.suffix]};base64,{b64encode(contents).decode()}"


def check_figure(contents: bytes, suffix: str) -> None:
    """Raise `OSError`, `SyntaxError` or `ValueError` unless bytes are what a suffix says."""
    if suffix == ".png":
        Image.open(io.BytesIO(contents), formats=["PNG"]).verify()
    elif ElementTree.fromstring(contents).tag not in SVG_ROOTS:
        raise ValueError("This is no SVG.")


def read_routing(path: Path) -> dict[str, Any]:
    """Read the numbers of a `routing.csv`, as the script of the page takes them.

    Returns:
        The names of the `task`s, `block`s and `expert`s, and per quantity a number for every
        combination of the three, the expert changing fastest.

    Raises:
        CheckpointError: it is damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = [[line[name] for name in ROUTING_COLUMNS] for line in csv.DictReader(file)]
        columns = list(zip(*lines, strict=True))
        names = [list(dict.fromkeys(map(csv_text, column))) for column in columns[:3]]
        numbers = [[float(value) for value in column] for column in columns[3:]]
        is_whole = [tuple(map(csv_text, line[:3])) for line in lines] == list(product(*names))
        if not (lines and is_whole and all(map(isfinite, chain(*numbers)))):
            raise ValueError("Not a number for each combination.")
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise CheckpointError(
            f"{path} is damaged or was not written by wemoe-pl: delete it, or make the run again."
        ) from error
    return dict(zip(ROUTING_COLUMNS, [*names, *numbers], strict=True))
