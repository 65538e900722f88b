"""Write the notes below a table of runs: how to read its columns, and what is left out."""

from collections.abc import Iterable, Sequence

from wemoe_pl.merging.spelling import spelled
from wemoe_pl.reporting.run_notes import notes_on_means, render_note
from wemoe_pl.reporting.scored_runs import ScoredRun
from wemoe_pl.reporting.table import ResultRow
from wemoe_pl.reporting.table_columns import TableColumns
from wemoe_pl.training.shown_metrics import ACCURACY, AGREEMENT, CERTIFICATE


def table_notes(runs: Sequence[ScoredRun], columns: TableColumns) -> list[str]:
    """List the notes on the runs of one experiment; some of them may be empty.

    Args:
        runs: the runs of the table.
        columns: the columns of the table.
    """
    partial = dict.fromkeys(run.results.get("partial") or "" for run in runs)
    is_of_accuracy = columns.metric is ACCURACY
    on_means = dict.fromkeys(
        note for run in runs if is_of_accuracy for note in notes_on_means(run.results)
    )
    suite, render = runs[0].results.get("note", ""), render_note(runs[0].results)
    told = told_task_note(runs)
    certificate = CERTIFICATE.without_labels if columns.metric is AGREEMENT else ""
    about = [suite, render, stream_note(runs), columns.note, certificate, told]
    return [*about, *partial, *on_means]


def stream_note(runs: Iterable[ScoredRun]) -> str:
    """Return the note on the stream that all fits share; "" if their notes differ."""
    notes = {run.results["stream"] for run in runs if "stream" in run.results}
    return notes.pop() if len(notes) == 1 else ""


def told_task_note(runs: Iterable[ScoredRun]) -> str:
    """Return a note on methods that are told the task of every image, with their model sizes."""
    stored = {
        spelled(run.method): run.results["parameters"]["total"] for run in runs if run.is_told_task
    }
    if not stored:
        return ""
    sizes = ", ".join(f"{method} (of {total:,} parameters)" for method, total in stored.items())
    return (
        "These methods are told the task of every image, so they are not compared with the others: "
        f"{sizes}."
    )


def seeds_note(rows: Iterable[ResultRow]) -> str:
    """Return a note on the number of seeds that rows are means over; "" if no row has runs.

    >>> seeds_note([ResultRow("WEMoE", [], seeds=[0, 1, 2]), ResultRow("TIES", [], seeds=[0])])
    'Mean ± standard deviation over seeds (1 to 3 of them).'
    """
    counts = {len(row.seeds) for row in rows if row.seeds}
    if not counts:
        return ""
    span = str(min(counts)) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
    return f"Mean ± standard deviation over seeds ({span} of them)."
