"""`wemoe-pl report`: one document of many runs, as Markdown, CSV or LaTeX, or one page of HTML."""

from collections.abc import Sequence
from pathlib import Path

from wemoe_pl.reporting.comparison import DEFAULT_TABLE, TableOptions, compare_runs, labels_of
from wemoe_pl.reporting.html import Experiment, Section, write_page
from wemoe_pl.reporting.scored_runs import ScoredRun, read_experiments
from wemoe_pl.reporting.table import LAYOUTS
from wemoe_pl.system.files import atomic_write, remove_leftovers_of
from wemoe_pl.system.terminal import say


def report(
    folders: Sequence[str],
    layout: str = "markdown",
    out: Path | None = None,
    options: TableOptions = DEFAULT_TABLE,
) -> None:
    """Write a document of some runs: a table for every experiment.

    Args:
        folders: runs, or folders with runs below them.
        layout: one of `LAYOUTS`.
        out: the file; none prints the document.
        options: what the tables show.

    Raises:
        ConfigError: a folder is not there, or has no run.
        CheckpointError: a `results.json` or `config.yaml` cannot be read.
    """
    experiments = read_experiments(folders)
    document = LAYOUTS[layout]([t for runs in experiments for t in compare_runs(runs, options)])
    if out is None:
        say(document, end="")
        return
    remove_leftovers_of(out)
    with atomic_write(out) as temporary:
        temporary.write_text(document, encoding="utf-8")


def report_page(folders: Sequence[str], out: Path, options: TableOptions = DEFAULT_TABLE) -> None:
    """Write a page of some runs: their tables, and a section for every run.

    Args:
        folders: runs, or folders with runs below them.
        out: the file.
        options: what the tables show.

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
    """Make the section of each run, called as its row is."""
    labels = labels_of(runs)
    return [Section(label, r.folder, r.results) for label, r in zip(labels, runs, strict=True)]
