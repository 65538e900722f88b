"""Write one page on many runs: a single file of HTML that fetches nothing.

This module collects what the page shows of each run; `assets/page` says how it looks.
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
from wemoe_pl.system.files import SHIPPED, atomic_rewrite
from wemoe_pl.system.spreadsheets import csv_text
from wemoe_pl.training.metrics import mean

ASSETS = SHIPPED / "page"
AGAIN = "runs/again"  # the --out of the command that repeats a run
# The captions of the figures that a run may have left, by the stems of their files.
FIGURE_CAPTIONS = {
    "accuracy": "Accuracy on every task, beside the references",
    "agreement": "How often the answer agrees with the task's own expert, beside the references",
    "adaptation": "Scores during the adaptation, starting before its first step",
    "routing": "Mean routing weights of every block, for the images of each task",
    "routing_share": "How often a task's own expert has the largest routing weight, by block",
    "confusion": "How often each class was mistaken for another, in the task of lowest accuracy",
}
# The media types of a figure's files; the first file that exists is shown.
MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}
SVG_ROOTS = ("svg", "{http://www.w3.org/2000/svg}svg")


class EmbeddedFigure(NamedTuple):
    """An `EmbeddedFigure` is a figure whose data URI holds the whole file, and its caption."""

    uri: str
    caption: str


def label_free_facts(results: Mapping[str, Any]) -> dict[str, str]:
    """Return the means over tasks of the label-free metrics, if some tasks lack labels; else {}.

    If the scores before the adaptation are known, an arrow leads from their mean to that after it.
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
    """A `Section` is the part of a page about one run.

    Attributes:
        label: the label of the run's row in a table without means over seeds.
        folder: the folder of the run.
        results: the contents of its `results.json`.
    """

    label: str
    folder: Path
    results: Mapping[str, Any]

    @property
    def anchor(self) -> str:
        """Return the id of the section in the page, which depends only on the run's folder."""
        return f"run-{hashlib.sha256(str(self.folder).encode(errors='replace')).hexdigest()[:10]}"

    @property
    def facts(self) -> dict[str, str]:
        """Return the facts about the run that fit in a few words, without unknown ones."""
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
        """Return the command that repeats the run, as it was given or by its config, if known."""
        if command := self.results.get("command"):
            return str(command)
        run = RunFolder(self.folder)
        if not run.config.is_file():
            return None
        verb = "fit" if "guard" in self.results or run.checkpoints.is_dir() else "test"
        return shlex.join(["wemoe-pl", verb, "--config", str(run.config), "--out", AGAIN])

    @property
    def figures(self) -> list[EmbeddedFigure]:
        """Return the figures in the run's folder, each as SVG if there is one, otherwise as PNG.

        Raises:
            DataError: a figure cannot be read.
        """
        figures = []
        for stem, caption in FIGURE_CAPTIONS.items():
            paths = [self.folder / f"{stem}{suffix}" for suffix in MEDIA_TYPES]
            if path := next(filter(Path.is_file, paths), None):
                figures.append(EmbeddedFigure(data_uri(path), caption))
        return figures

    @property
    def routing(self) -> dict[str, Any] | None:
        """Return the routing weights, as `read_routing` does, with the initial one as "start".

        The result is None if there were no routers.
        """
        path = self.folder / ROUTING_FILE
        if not path.is_file():
            return None
        options = (self.results.get("merge") or {}).get("init_args", {})
        return read_routing(path) | {"start": options.get("init_lambda", 0)}


@dataclass(frozen=True)
class Experiment:
    """An `Experiment` has the tables of some runs, and a section for each of these runs.

    Attributes:
        tables: the table of the runs, whose rows link to sections, and a second one if some tasks
            have no labels.
        sections: the sections, one for every run.
    """

    tables: Sequence[ResultTable]
    sections: Sequence[Section]

    @property
    def table(self) -> ResultTable:
        """Return the table that the runs are compared by."""
        return self.tables[0]

    def anchor(self, label: str) -> str | None:
        """Return the anchor of the section of a row; None if the row has several runs or none."""
        found = [section.anchor for section in self.sections if section.label == label]
        return found[0] if len(found) == 1 else None

    @property
    def without_a_row(self) -> list[Section]:
        """Return the sections that no row of the table links to."""
        reached = {self.anchor(row.label) for row in self.table.rows}
        return [section for section in self.sections if section.anchor not in reached]


def write_page(
    path: Path, experiments: Sequence[Experiment], folders: Sequence[str], sort: str | None = None
) -> None:
    """Write a page on many runs, whole or not at all.

    Args:
        path: the file that is written.
        experiments: the tables and runs that the page shows.
        folders: the folders of the runs, as the user has given them.
        sort: the column that the rows are sorted by, if any.

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
    with atomic_rewrite(path) as temporary:
        temporary.write_text(page, "utf-8", errors="replace")  # JSON may hold lone surrogates


def notes_of(experiments: Sequence[Experiment]) -> dict[str, str]:
    """Return the notes on the suites, by the names of the suites that have one."""
    every = (section.results for experiment in experiments for section in experiment.sections)
    return {results["suite"]: results["note"] for results in every if results.get("note")}


def policy(style: str, script: str) -> str:
    """Return a Content-Security-Policy: only this style, this script, and embedded figures."""
    return (
        f"default-src 'none'; style-src {allowed(style)}; script-src {allowed(script)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def allowed(text: str) -> str:
    """Return the source of an inline text in a Content-Security-Policy: its hash.

    >>> allowed("")
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
    """
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def with_sign(share: float | None) -> str | None:
    """Return a share in percent, with the sign; None if it was not measured."""
    return None if share is None else f"{percent(share)} %"


def data_uri(path: Path) -> str:
    """Return a data URI that holds a whole figure.

    Raises:
        DataError: the figure is damaged, or cannot be read.
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
    """Raise `OSError`, `SyntaxError` or `ValueError` unless bytes are a figure of a suffix."""
    if suffix == ".png":
        Image.open(io.BytesIO(contents), formats=["PNG"]).verify()
    elif ElementTree.fromstring(contents).tag not in SVG_ROOTS:
        raise ValueError("This is no SVG.")


def read_routing(path: Path) -> dict[str, Any]:
    """Read a `routing.csv` in the form that the script of the page takes.

    Returns:
        The names of the `task`s, `block`s and `expert`s and, for each quantity, a number for every
        combination of the three, with the expert changing fastest.

    Raises:
        CheckpointError: the file is damaged.
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
