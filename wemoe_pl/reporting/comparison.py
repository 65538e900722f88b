"""`wemoe-pl report`: one document of many runs, as Markdown, CSV or LaTeX, or one page."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from wemoe_pl.errors import CheckpointError, ConfigError
from wemoe_pl.reporting.html import Experiment, Section, write_page
from wemoe_pl.reporting.published import PublishedRow, experiment_of, published_rows
from wemoe_pl.reporting.summary import REFERENCE_METHODS
from wemoe_pl.reporting.table import LAYOUTS, Cell, Row, Tabular
from wemoe_pl.runs.settings import Effect, relevant_settings
from wemoe_pl.system.files import atomic_write
from wemoe_pl.system.plain_yaml import load_plain
from wemoe_pl.training.metrics import mean, normalized_mean

UNKNOWN = {"entropy": "task unknown (entropy)", "routing": "task unknown (routing)"}


@dataclass(frozen=True)
class TableOptions:
    """What a table shows of its runs.

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


@dataclass(frozen=True)
class Run:
    """What one run left."""

    folder: Path
    results: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """Its name."""
        return str(self.results["method"])

    @property
    def experiment(self) -> tuple[Any, ...]:
        """Runs of which this is equal belong in one table."""
        results = self.results
        corruption = json.dumps(results.get("corruption"), sort_keys=True)
        experts = results.get("experts", results["tasks"])
        return results["suite"], tuple(results["tasks"]), tuple(experts), corruption


def report(
    folders: Sequence[str],
    layout: str = "markdown",
    out: Path | None = None,
    options: TableOptions = TableOptions(),
) -> None:
    """Write a document of some runs: a table for every experiment.

    Args:
        folders: of runs, or with runs below them.
        layout: one of `LAYOUTS`.
        out: where to; none prints it.
        options: what the tables show.

    Raises:
        ConfigError: a folder is not there, or has no run.
        CheckpointError: a `results.json` or `config.yaml` cannot be read.
    """
    tables = [tabular(runs, options) for runs in experiments_in(folders)]
    document = LAYOUTS[layout](tables)
    if out is None:
        print(document, end="")
        return
    with atomic_write(out) as temporary:
        temporary.write_text(document)


def report_page(folders: Sequence[str], out: Path, options: TableOptions = TableOptions()) -> None:
    """Write a page of some runs: their tables, and a section for every run.

    Args:
        folders: of runs, or with runs below them.
        out: where to.
        options: what the tables show.

    Raises:
        ConfigError: a folder is not there, or has no run.
        CheckpointError: a `results.json` or `config.yaml` cannot be read.
        WeMoEError: see `write_page`.
    """
    experiments = [
        Experiment(tabular(runs, options), sections_of(runs)) for runs in experiments_in(folders)
    ]
    write_page(out, experiments, folders, options.sort)


def experiments_in(folders: Iterable[str]) -> list[list[Run]]:
    """The runs in some folders, those of one experiment together; raises as `read_runs` does."""
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in read_runs(folders):
        groups.setdefault(run.experiment, []).append(run)
    return list(groups.values())


def read_runs(folders: Iterable[str]) -> list[Run]:
    """The runs in, and below, some folders, each once.

    Raises:
        ConfigError: there is no such folder, or no run in it.
        CheckpointError: a `results.json` or `config.yaml` is damaged or not ours.
    """
    found: dict[Path, Run] = {}
    for name in folders:
        folder = Path(name)
        if not folder.is_dir():
            raise ConfigError(f"There is no folder {folder}: give the folder of a run.")
        paths = [path for path in sorted(folder.rglob("results.json")) if is_open(path, folder)]
        if not paths:
            raise ConfigError(
                f"No results.json lies in {folder} or below it: run `wemoe-pl fit` or `test` first."
            )
        for path in paths:
            found.setdefault(path.resolve(), read_run(path))
    return list(found.values())


def is_open(path: Path, folder: Path) -> bool:
    """Does a file lie in no hidden folder, as runs do that are not finished?"""
    return not any(part.startswith(".") for part in path.relative_to(folder).parts)


def read_run(path: Path) -> Run:
    """The run of a `results.json`, with its config if that is there."""
    try:
        results = json.loads(path.read_text())
        complete = {"suite", "method", "tasks", "accuracy", "mean"} <= set(results)
    except (ValueError, TypeError):
        complete = False
    if not complete:
        raise CheckpointError(f"{path} is damaged or was not written by wemoe-pl: delete it.")
    config = path.with_name("config.yaml")
    return Run(path.parent, results, options_in(config) if config.is_file() else {})


def options_in(config: Path) -> dict[str, str]:
    """What makes the method of a run, by dotted keys.

    Raises:
        CheckpointError: the config is damaged.
    """
    try:
        settings = relevant_settings(load_plain(config.read_text()), Effect.METHOD)
        return {name: as_text(name, value) for name, value in settings}
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{config} is damaged or was not written by wemoe-pl: delete it."
        ) from error


def as_text(name: str, value: Any) -> str:
    """A setting as text; a class, which has a long and a short form, by its short one."""
    if name.rpartition(".")[2] == "class_path":
        return str(value.rpartition(".")[2])
    return value if isinstance(value, str) else json.dumps(value)


def tabular(runs: list[Run], options: TableOptions) -> Tabular:
    """The table of the runs of one experiment."""
    first = runs[0].results
    tasks = list(first["tasks"])
    rules = [r for r in UNKNOWN if any(run.results.get("unknown_task", {}).get(r) for run in runs)]
    columns = [*tasks, "mean", "normalized mean", *(UNKNOWN[rule] for rule in rules)]
    rows = own_rows(runs, tasks, rules, options.mean_over_seeds)
    if options.references:
        rows = with_references(rows, runs, tasks, len(rules))
    if options.sort:
        rows.sort(key=lambda row: row.cells[len(tasks)].value or 0.0)
    notes = [first.get("note", ""), *dict.fromkeys(run.results.get("partial") for run in runs)]
    if options.mean_over_seeds and (counts := {len(row.seeds) for row in rows if row.seeds}):
        notes.append(f"Mean ± standard deviation over seeds ({span(counts)} of them).")
    published: list[PublishedRow] = []
    if options.published:
        experiment = experiment_of(first)
        published = published_rows(first["suite"], experiment) if experiment else []
        if not published:
            notes.append("Nothing is published of this suite and experiment.")
    return Tabular(
        suite=first["suite"],
        title=title_of(runs[0]),
        corruption=corruption_of(first),
        columns=columns,
        rows=rows,
        published=[published_row(row, tasks, len(columns)) for row in published],
        notes=[note for note in notes if note],
    )


def own_rows(
    runs: list[Run], tasks: list[str], rules: Sequence[str], over_seeds: bool
) -> list[Row]:
    """A row per run, or per set of runs that differ in nothing but the seed."""
    grouped: dict[Any, list[Run]] = {}
    for i, run in enumerate(runs):
        same = (run.method, *sorted(run.options.items())) if over_seeds else i
        grouped.setdefault(same, []).append(run)
    labels = labels_of([group[0] for group in grouped.values()])
    experts = (run.results["accuracy"] for run in runs if run.method == "Individual")
    individual: dict[str, float] = next(experts, {})
    return [
        Row(
            label,
            [
                Cell.of(values)
                for values in zip(
                    *(values_of(r, tasks, rules, individual) for r in group), strict=True
                )
            ],
            seeds=[run.results["seed"] for run in group],
            is_ceiling=group[0].method == "Individual",
        )
        for label, group in zip(labels, grouped.values(), strict=True)
    ]


def values_of(
    run: Run, tasks: list[str], rules: Sequence[str], individual: Mapping[str, float]
) -> list[float | None]:
    """A run's numbers, in the order of the columns; without experts of its own, by those given."""
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


def labels_of(runs: list[Run]) -> list[str]:
    """The method of every run, with what tells it from others of that method."""
    labels = []
    for run in runs:
        alike = [other for other in runs if other.method == run.method]
        keys = dict.fromkeys(key for other in alike for key in other.options)
        told = {
            key.rpartition(".")[2]: run.options[key]
            for key in keys
            if key in run.options and len({other.options.get(key) for other in alike}) > 1
        }
        twins = [other for other in alike if other.options == run.options]
        if len(twins) > 1:
            seeds = {other.results["seed"] for other in twins}
            by_seed = len(seeds) == len(twins)
            told |= {"seed": run.results["seed"]} if by_seed else {"in": run.folder.name}
        known = {key: value for key, value in told.items() if value != "null"}
        text = ", ".join(
            str(value) if key == "class_path" else f"{key} {value}" for key, value in known.items()
        )
        labels.append(f"{run.method} ({text})" if text else run.method)
    return labels


def sections_of(runs: list[Run]) -> list[Section]:
    """What a page tells of each run, called as its row is."""
    labels = labels_of(runs)
    return [Section(label, r.folder, r.results) for label, r in zip(labels, runs, strict=True)]


def with_references(rows: list[Row], runs: list[Run], tasks: list[str], rules: int) -> list[Row]:
    """The rows between those that the runs were compared with, equal ones once."""
    ends: dict[str, list[Row]] = {name: [] for name in REFERENCE_METHODS}
    known = {row.label for row in rows}
    for run in runs:
        individual = run.results.get("reference", {}).get("individual", {})
        for name, label in REFERENCE_METHODS.items():
            accuracy = run.results.get("reference", {}).get(name)
            if not accuracy or label in known:
                continue
            values = [*(accuracy.get(task) for task in tasks), mean(accuracy)]
            values += [normalized_mean(accuracy, individual), *[None] * rules]
            row = Row(
                label, [Cell.of([value]) for value in values], is_ceiling=name == "individual"
            )
            if row not in ends[name]:
                ends[name].append(row)
    return [*ends["pretrained"], *ends["task_arithmetic"], *rows, *ends["individual"]]


def published_row(row: PublishedRow, tasks: list[str], columns: int) -> Row:
    """A published row, in the columns of ours."""
    values = [*(row.accuracy.get(task) for task in tasks), row.mean]
    values += [None] * (columns - len(values))
    cells = [Cell.of([value]) for value in values]
    return Row(row.method, cells, family=row.checkpoint_family, source=row.source)


def title_of(run: Run) -> str:
    """What a table is of."""
    results = run.results
    unseen = [
        task for task in results["tasks"] if task not in results.get("experts", results["tasks"])
    ]
    parts = [results["suite"], f"{len(results['tasks'])} tasks"]
    parts += [f"unseen {', '.join(unseen)}"] if unseen else []
    parts += [corruption] if (corruption := corruption_of(results)) else []
    return ", ".join(parts)


def corruption_of(results: Mapping[str, Any]) -> str:
    """What was done to the images; nothing for clean ones."""
    corruption = results.get("corruption")
    return f"{corruption['kind']} of severity {corruption['severity']}" if corruption else ""


def span(counts: set[int]) -> str:
    """The least and the largest of some numbers, once if they are equal."""
    return str(min(counts)) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
