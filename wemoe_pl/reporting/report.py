"""Run `wemoe-pl report`: write a document on many runs as Markdown, CSV or LaTeX, or as HTML."""

from collections.abc import Sequence
from pathlib import Path

from wemoe_pl.reporting.comparison import DEFAULT_TABLE, TableOptions, compare_runs, labels_of
from wemoe_pl.reporting.html import Experiment, Section, write_page
from wemoe_pl.reporting.scored_runs import ScoredRun, read_experiments
from wemoe_pl.reporting.table import LAYOUTS
from wemoe_pl.system.files import atomic_rewrite
from wemoe_pl.system.terminal import say


def report(
    folders: Sequence[str],
    layout: str = "markdown",
    out: Path | None = None,
    options: TableOptions = DEFAULT_TABLE,
) -> None:
    """Write a document on some runs: a table for every experiment.

    Args:
        folders: the folders of runs, or folders with runs below them.
        layout: the form of the document, one of `LAYOUTS`.
        out: the file that is written; None prints the document.
        options: the options of the tables.

    Raises:
        ConfigError: a folder is not there, or has no run.
        CheckpointError: a `results.json` or `config.yaml` cannot be read.
    """
    experiments = read_experiments(folders)
    document = LAYOUTS[layout]([t for runs in experiments for t in compare_runs(runs, options)])
    if out is None:
        say(document, end="")
        return
    with atomic_rewrite(out) as temporary:
        temporary.write_text(document, encoding="utf-8")


def report_page(folders: Sequence[str], out: Path, options: TableOptions = DEFAULT_TABLE) -> None:
    """Write a page on some runs: their tables, and a section for every run.

    Args:
        folders: the folders of runs, or folders with runs below them.
        out: the file that is written.
        options: the options of the tables.

    Raises:
        ConfigError: a folder is not there, or has no run.
        CheckpointError: a `results.json` or `config.yaml` cannot be read.
        WeMoEError: see `write_page`.
    """
    experiments = [
        Experiment(compare_runs(runs, options), sections_of(runs))
        for runs in read_experiments(folders)
    ]
    write_page(out, experiments, folders, options.sort)


def sections_of(runs: Sequence[ScoredRun]) -> list[Section]:
    """Make the section of each run, with the label of its row."""
    labels = labels_of(runs)
    return [Section(label, r.folder, r.results) for label, r in zip(labels, runs, strict=True)]
