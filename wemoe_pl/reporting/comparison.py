"""The table that compares the runs of one experiment, with references and published rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from wemoe_pl.model.task_inference import InferenceRule
from wemoe_pl.reporting.published import PublishedRow, experiment_of, published_rows
from wemoe_pl.reporting.scored_runs import ScoredRun
from wemoe_pl.reporting.summary import corruption_of, left_out_note
from wemoe_pl.reporting.table import Cell, ResultRow, ResultTable
from wemoe_pl.training.metrics import mean, normalized_mean
from wemoe_pl.training.references import REFERENCES

INDIVIDUAL = "individual"
EXPERTS = REFERENCES[INDIVIDUAL].label


@dataclass(frozen=True)
class TableOptions:
    """The options of a table of runs.

    Args:
        mean_over_seeds: has one row for runs that differ in the seed.
        references: has rows for what the runs were compared with.
        published: has the published rows of the same experiment below.
        sort: "mean" for rows by their mean; none for the order in which they are found.
    """

    mean_over_seeds: bool = False
    references: bool = False
    published: bool = False
    sort: str | None = None


DEFAULT_TABLE = TableOptions()


def compare_runs(runs: Sequence[ScoredRun], options: TableOptions) -> ResultTable:
    """Make the table of the runs of one experiment."""
    first = runs[0].results
    tasks = list(first["tasks"])
    inferred = [run.results.get("unknown_task", {}) for run in runs]
    rules = [r for r in get_args(InferenceRule) if any(scores.get(r) for scores in inferred)]
    columns = [*tasks, "mean", "normalized mean", *(f"task unknown ({rule})" for rule in rules)]
    rows = own_rows(runs, tasks, rules, options.mean_over_seeds)
    if options.references:
        references = reference_rows(runs, tasks, len(columns), {row.label for row in rows})
        below = [row for row in references if not row.is_ceiling]
        rows = [*below, *rows, *(row for row in references if row.is_ceiling)]
    if options.sort:
        rows.sort(key=lambda row: row.cells[len(tasks)].value or 0.0)
    notes = [first.get("note", ""), *dict.fromkeys(run.results.get("partial") for run in runs)]
    notes += dict.fromkeys(left_out_note(run.results) for run in runs)
    if options.mean_over_seeds and (counts := {len(row.seeds) for row in rows if row.seeds}):
        notes.append(f"Mean ± standard deviation over seeds ({span(counts)} of them).")
    published: list[PublishedRow] = []
    if options.published:
        experiment = experiment_of(first)
        published = published_rows(first["suite"], experiment) if experiment else []
        if not published:
            notes.append("Nothing is published of this suite and experiment.")
    return ResultTable(
        suite=first["suite"],
        title=title_of(first),
        corruption=corruption_of(first),
        columns=columns,
        rows=rows,
        published=[published_row(row, tasks, len(columns)) for row in published],
        notes=[note for note in notes if note],
    )


def own_rows(
    runs: Sequence[ScoredRun], tasks: Sequence[str], rules: Sequence[str], over_seeds: bool
) -> list[ResultRow]:
    """Make a row per run, or per set of runs that differ in nothing but the seed."""
    grouped: dict[Any, list[ScoredRun]] = {}
    for i, run in enumerate(runs):
        same = (run.method, *sorted(run.options.items())) if over_seeds else i
        grouped.setdefault(same, []).append(run)
    labels = labels_of([group[0] for group in grouped.values()])
    experts = (run.results["accuracy"] for run in runs if run.method == EXPERTS)
    individual: dict[str, float] = next(experts, {})
    rows = []
    for label, group in zip(labels, grouped.values(), strict=True):
        numbers = [numbers_of(run, tasks, rules, individual) for run in group]
        cells = [Cell.of(values) for values in zip(*numbers, strict=True)]
        seeds = [run.results["seed"] for run in group]
        rows.append(ResultRow(label, cells, seeds, is_ceiling=group[0].method == EXPERTS))
    return rows


def numbers_of(
    run: ScoredRun, tasks: Sequence[str], rules: Sequence[str], individual: Mapping[str, float]
) -> list[float | None]:
    """List a run's numbers in the order of the columns.

    Args:
        run: the run.
        tasks: the names of the first columns.
        rules: by which tasks were inferred, one per column at the end.
        individual: the experts' accuracy, by which a run is normalised that has none of its own.
    """
    results = run.results
    normalized = results.get("normalized_mean")
    if normalized is None:
        normalized = normalized_mean(results["accuracy"], individual)
    unknown = results.get("unknown_task", {})
    return [
        *(results["accuracy"].get(task) for task in tasks),
        results["mean"],
        normalized,
        *(unknown.get(rule, {}).get("mean") for rule in rules),
    ]


def labels_of(runs: Sequence[ScoredRun]) -> list[str]:
    """Name the method of every run, with what tells it from others of that method."""
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
        labels.append(f"{run.method} ({text})" if text else run.method)
    return labels


def reference_rows(
    runs: Sequence[ScoredRun], tasks: Sequence[str], width: int, known: set[str]
) -> list[ResultRow]:
    """Make a row for everything that the runs were compared with, equal ones once.

    Args:
        runs: the runs of one experiment.
        tasks: the names of the first columns.
        width: how many columns there are.
        known: the labels of rows that the table has already.
    """
    rows: list[ResultRow] = []
    for key, reference in REFERENCES.items():
        for run in runs if reference.label not in known else ():
            compared = run.results.get("reference", {})
            if accuracy := compared.get(key):
                normalized = normalized_mean(accuracy, compared.get(INDIVIDUAL, {}))
                cells = cells_of(accuracy, [mean(accuracy), normalized], tasks, width)
                row = ResultRow(reference.label, cells, is_ceiling=reference.is_ceiling)
                rows += [row] if row not in rows else []
    return rows


def published_row(row: PublishedRow, tasks: Sequence[str], width: int) -> ResultRow:
    """Make a row of our table from a published one."""
    cells = cells_of(row.accuracy, [row.mean], tasks, width)
    return ResultRow(row.method, cells, family=row.checkpoint_family, source=row.source)


def cells_of(
    accuracy: Mapping[str, float], means: Sequence[float | None], tasks: Sequence[str], width: int
) -> list[Cell]:
    """Make the cells of a row: one per task, then the means, and empty ones up to the width."""
    values = [*(accuracy.get(task) for task in tasks), *means]
    return [Cell(value) for value in [*values, *[None] * (width - len(values))]]


def title_of(results: Mapping[str, Any]) -> str:
    """Say what a table is of: the suite, its tasks, and what was done to experts and images."""
    experts = results.get("experts", results["tasks"])
    unseen = [task for task in results["tasks"] if task not in experts]
    parts = [results["suite"], f"{len(results['tasks'])} tasks"]
    parts += [f"unseen {', '.join(unseen)}"] if unseen else []
    parts += [corruption] if (corruption := corruption_of(results)) else []
    return ", ".join(parts)


def span(counts: set[int]) -> str:
    """Write the least and the largest of some numbers, once if they are equal."""
    return str(min(counts)) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
