"""Make the table that compares the runs of one experiment, with references and published rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from wemoe_pl.merging.spelling import spelled
from wemoe_pl.reporting.families import common_family
from wemoe_pl.reporting.published import PublishedRow, experiment_of, published_rows
from wemoe_pl.reporting.run_notes import corruption_of
from wemoe_pl.reporting.scored_runs import ScoredRun
from wemoe_pl.reporting.table import Cell, ResultRow, ResultTable
from wemoe_pl.reporting.table_columns import TableColumns, columns_of
from wemoe_pl.reporting.table_notes import seeds_note, table_notes
from wemoe_pl.reporting.without_labels import (
    compared_metric,
    compared_references,
    scored_tasks,
    stand_in,
    unlabelled_tasks,
)
from wemoe_pl.training.metrics import mean, normalized_mean
from wemoe_pl.training.references import EXPERTS, REFERENCES
from wemoe_pl.training.shown_metrics import ACCURACY, ShownMetric

EXPERTS_LABEL = REFERENCES[EXPERTS].label


@dataclass(frozen=True)
class TableOptions:
    """A `TableOptions` says which rows a table of runs has, and in which order.

    Args:
        mean_over_seeds: True to make one row of runs that differ only in the seed.
        references: True to add rows for the references of the runs; a single run always has them.
        published: True to add the published rows of the same experiment and checkpoints.
        family: the family of experts whose sources do not tell it; see `FAMILIES`.
        sort: "mean" to sort rows by their mean; None to keep the order in which runs are found.
    """

    mean_over_seeds: bool = False
    references: bool = False
    published: bool = False
    family: str | None = None
    sort: str | None = None


DEFAULT_TABLE = TableOptions()


def compare_runs(runs: Sequence[ScoredRun], options: TableOptions) -> list[ResultTable]:
    """Make the table of the runs of one experiment, and a second one if some tasks lack labels.

    The second table shows all tasks, in the metric that stands in for the accuracy.

    Raises:
        ConfigError: published rows are asked for, and it is not clear which of them are comparable.
    """
    results = [run.results for run in runs]
    metric = compared_metric(results)
    tables = [metric_table(runs, options, metric)]
    other = stand_in(results)
    if metric is ACCURACY and other and any(map(unlabelled_tasks, results)):
        tables.append(metric_table(runs, replace(options, published=False), other))
    return tables


def metric_table(
    runs: Sequence[ScoredRun], options: TableOptions, metric: ShownMetric
) -> ResultTable:
    """Make the table that compares the runs of one experiment in a metric."""
    first, columns = runs[0].results, columns_of(runs, metric)
    rows = own_rows(runs, columns, options.mean_over_seeds)
    if options.references or len(runs) == 1:
        references = reference_rows(runs, columns, {row.label for row in rows})
        below = [row for row in references if not row.is_ceiling]
        rows = [*below, *rows, *(row for row in references if row.is_ceiling)]
    if options.sort:
        rows.sort(key=lambda row: row.cells[len(columns.tasks)].value or 0.0)
    notes = table_notes(runs, columns)
    if options.mean_over_seeds:
        notes.append(seeds_note(rows))
    published = published_beside(runs, options.family) if options.published else []
    if options.published and not published:
        notes.append("Nothing is published for this suite, experiment and family of checkpoints.")
    return ResultTable(
        suite=first["suite"],
        title=title_of(first),
        corruption=corruption_of(first),
        columns=columns.titles,
        rows=rows,
        published=[published_row(row, columns) for row in published],
        notes=list(filter(None, notes)),
        measured=columns.metric.label,
    )


def published_beside(runs: Sequence[ScoredRun], family: str | None) -> list[PublishedRow]:
    """Find the published rows of the experiment of some runs, with checkpoints of their family.

    Raises:
        ConfigError: the family of a run is not known, or differs from the stated one.
    """
    first = runs[0].results
    experiment = experiment_of(first)
    if experiment is None or not published_rows(first["suite"], experiment):
        return []
    sources = {run.folder: run.results["sources"] for run in runs}
    return published_rows(first["suite"], experiment, common_family(sources, family))


def own_rows(runs: Sequence[ScoredRun], columns: TableColumns, over_seeds: bool) -> list[ResultRow]:
    """Make a row per run, or, if `over_seeds`, per set of runs that differ only in the seed."""
    grouped: dict[Any, list[ScoredRun]] = {}
    for i, run in enumerate(runs):
        same = (run.method, *sorted(run.options.items())) if over_seeds else i
        grouped.setdefault(same, []).append(run)
    labels = labels_of([group[0] for group in grouped.values()])
    experts = (run.results["accuracy"] for run in runs if run.method == EXPERTS_LABEL)
    individual: dict[str, float] = next(experts, {})
    rows = []
    for label, group in zip(labels, grouped.values(), strict=True):
        numbers = [numbers_of(run, columns, individual) for run in group]
        cells = [
            Cell.of(values, **look_of(metric))
            for *values, metric in zip(*numbers, columns.metrics, strict=True)
        ]
        seeds = [run.results["seed"] for run in group]
        rows.append(ResultRow(label, cells, seeds, is_ceiling=group[0].is_told_task))
    return rows


def numbers_of(
    run: ScoredRun, columns: TableColumns, individual: Mapping[str, float]
) -> list[float | None]:
    """List a run's numbers in the order of the columns.

    Args:
        run: the run.
        columns: the columns of the table.
        individual: the experts' accuracy, which normalises a run that has no normalized mean.
    """
    results = run.results
    normalized = results.get("normalized_mean")
    if normalized is None:
        normalized = normalized_mean(results["accuracy"], individual)
    unknown, scores = results.get("unknown_task", {}), results.get(columns.metric.result, {})
    is_labelled = columns.metric is ACCURACY
    return [
        *(scores.get(task) for task in columns.tasks),
        results["mean"] if is_labelled else mean(scores),
        *([normalized] if is_labelled else []),
        *(mean(results.get(metric.result, {})) for metric in columns.means),
        *(unknown.get(rule, {}).get("mean") for rule in columns.rules),
    ]


def labels_of(runs: Sequence[ScoredRun]) -> list[str]:
    """Name the method of every run, with the settings that differ among runs of that method."""
    labels = []
    for run in runs:
        alike = [other for other in runs if other.method == run.method]
        keys = dict.fromkeys(key for other in alike for key in other.options)
        differing = {
            key.rpartition(".")[2]: run.options[key]
            for key in keys
            if key in run.options and len({other.options.get(key) for other in alike}) > 1
        }
        twins = [other for other in alike if other.options == run.options]
        if len(twins) > 1:
            seeds = {other.results["seed"] for other in twins}
            by_seed = len(seeds) == len(twins)
            differing |= {"seed": run.results["seed"]} if by_seed else {"in": run.folder.name}
        text = ", ".join(
            str(value) if key == "class_path" else f"{key} {value}"
            for key, value in differing.items()
            if value != "null"
        )
        method = spelled(run.method)
        labels.append(f"{method} ({text})" if text else method)
    return labels


def reference_rows(
    runs: Sequence[ScoredRun], columns: TableColumns, known: set[str]
) -> list[ResultRow]:
    """Make a row for each reference of the runs; equal rows appear once.

    Args:
        runs: the runs of one experiment.
        columns: the columns of the table.
        known: the labels of rows that the table has already.
    """
    rows: list[ResultRow] = []
    for key, reference in REFERENCES.items():
        for run in runs if reference.title not in known else ():
            compared = compared_references(run.results, columns.metric)
            if values := compared.get(key):
                normalized = normalized_mean(values, compared.get(EXPERTS, {}))
                means = [mean(values), normalized] if columns.metric is ACCURACY else [mean(values)]
                cells = cells_of(values, means, columns)
                row = ResultRow(reference.title, cells, is_ceiling=reference.is_ceiling)
                rows += [row] if row not in rows else []
    return rows


def published_row(row: PublishedRow, columns: TableColumns) -> ResultRow:
    """Make a row of our table from a published row."""
    cells = cells_of(row.accuracy, [row.mean], columns)
    return ResultRow(row.method, cells, family=row.checkpoint_family, source=row.origin)


def cells_of(
    values: Mapping[str, float], means: Sequence[float | None], columns: TableColumns
) -> list[Cell]:
    """Make the cells of a row: one per task, then the means, and empty cells to fill the row."""
    known = [*(values.get(task) for task in columns.tasks), *means]
    filled = [*known, *[None] * (len(columns.metrics) - len(known))]
    return [Cell(v, **look_of(metric)) for v, metric in zip(filled, columns.metrics, strict=True)]


def look_of(metric: ShownMetric) -> dict[str, Any]:
    """Return the arguments of `Cell` that say how a metric is written and compared."""
    return {"form": metric.text, "least_is_best": metric.least_is_best}


def title_of(results: Mapping[str, Any]) -> str:
    """Return the title of a table: the suite, its tasks, unseen ones, and changes to its images."""
    tasks = scored_tasks(results)
    experts = results.get("experts", tasks)
    unseen = [task for task in tasks if task not in experts]
    parts = [results["suite"], f"{len(tasks)} task{'s' * (len(tasks) != 1)}"]
    parts += [f"unseen {', '.join(unseen)}"] if unseen else []
    parts += [corruption] if (corruption := corruption_of(results)) else []
    parts += [f"rendered from seed {render['seed']}"] if (render := results.get("render")) else []
    return ", ".join(parts)
