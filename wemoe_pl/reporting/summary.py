"""The summary of a run: the table that it prints, and a page of its own."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from wemoe_pl.reporting.table import grid, percent
from wemoe_pl.system.files import atomic_write
from wemoe_pl.training.metrics import mean, normalized_mean
from wemoe_pl.training.shown_metrics import LABEL_FREE

COLUMN_TITLES = {
    "pretrained": "pretrained",
    "task_arithmetic": "task arithmetic",
    "individual": "individual",
}
REFERENCE_METHODS = {
    "pretrained": "Pretrained",
    "task_arithmetic": "TaskArithmetic",
    "individual": "Individual",
}
SHORT_HASH = 12  # of the 64 characters of a SHA-256


def accuracy_table(results: Mapping[str, Any]) -> Table:
    """One row per task, one column per method, and the means below; in percent.

    Args:
        results: the contents of a `results.json`.
    """
    caption = f"Accuracy on {results['suite']}, %"
    notes = filter(None, (results.get("note"), results.get("partial")))
    below = escape("\n".join(notes))  # a stranger's brackets are no markup
    table = Table(title=escape(caption), caption=below or None, min_width=len(caption))
    titles, rows = accuracy_rows(results)
    for title in titles:
        style = "bold" if title == results["method"] else ""
        table.add_column(title, justify="left" if title == titles[0] else "right", style=style)
    for place, row in enumerate(rows, start=1):
        table.add_row(*row, end_section=place == len(results["tasks"]))
    return table


def accuracy_rows(results: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The titles of the columns, and a row per task with the means below; in percent.

    Args:
        results: the contents of a `results.json`.
    """
    columns = accuracy_columns(results)
    rows = rows_by_task(results["tasks"], columns.values())
    if individual := results["reference"].get("individual"):
        normalized = (normalized_mean(values, individual) for values in columns.values())
        rows.append(["normalized mean", *map(percent, normalized)])
    return ["task", *columns], rows


def accuracy_columns(results: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    """The accuracy of a run and of what it is compared with, 0 to 1, by title and task.

    Args:
        results: the contents of a `results.json`.
    """
    reference = results["reference"]
    columns = {
        "pretrained": reference.get("pretrained"),
        "task_arithmetic": reference.get("task_arithmetic"),
        results["method"]: results["accuracy"],
        "individual": reference.get("individual"),
    }
    by_method = {method: name for name, method in REFERENCE_METHODS.items()}
    # Results of an earlier version do not say which reference they are themselves.
    own = results.get("own_reference", by_method.get(results["method"]))
    return {
        COLUMN_TITLES.get(name, name): values
        for name, values in columns.items()
        if values and name != own
    }


def rows_by_task(tasks: Iterable[str], columns: Iterable[Mapping[str, float]]) -> list[list[str]]:
    """A row per task, and one of the means below; in percent.

    >>> rows_by_task(["cars", "dtd"], [{"cars": 0.5, "dtd": 0.6}, {"dtd": 1.0}])
    [['cars', '50.0', '–'], ['dtd', '60.0', '100.0'], ['mean', '55.0', '100.0']]
    """
    columns = list(columns)
    rows = [[task, *(percent(values.get(task)) for values in columns)] for task in tasks]
    return [*rows, ["mean", *(percent(mean(values)) for values in columns)]]


def write_summary(path: Path, results: Mapping[str, Any], pictures: Sequence[str]) -> None:
    """Write `summary`, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(summary(results, pictures), encoding="utf-8")


def summary(results: Mapping[str, Any], pictures: Sequence[str]) -> str:
    """A run on one page, as Markdown: its scores, how it was made, and its pictures.

    Args:
        results: the contents of a `results.json`.
        pictures: names of files beside the page, such as `routing_share.png`.
    """
    sections = {
        "Accuracy, %": accuracy_section(results),
        "Without labels": label_free_section(results),
        "When the task is not known": unknown_task_section(results),
        "Size and time": sizes_and_times(results),
        "How it was made": origin(results),
        "Pictures": [f"![{Path(name).stem.replace('_', ' ')}]({name})" for name in pictures],
    }
    page = [f"# {results['method']} on {results['suite']}", *warnings_of(results)]
    for heading, paragraphs in sections.items():
        page += [f"## {heading}", *paragraphs] if paragraphs else []
    return "\n\n".join(page) + "\n"


def warnings_of(results: Mapping[str, Any]) -> list[str]:
    """What must be known before any number is read."""
    told = [results.get("note"), results.get("partial"), results.get("curves")]
    if corruption := results.get("corruption"):
        kind, severity = corruption["kind"], corruption["severity"]
        told.append(f"The test images are corrupted: {kind} of severity {severity}.")
    return [f"> {sentence}" for sentence in told if sentence]


def accuracy_section(results: Mapping[str, Any]) -> list[str]:
    """The table that a run prints, if any image has a label."""
    return [grid(*accuracy_rows(results))] if results["accuracy"] else []


def label_free_section(results: Mapping[str, Any]) -> list[str]:
    """What is known of the predictions for each task without a look at labels."""
    columns = {m.label: results[m.result] for m in LABEL_FREE if results.get(m.result)}
    tasks = dict.fromkeys(task for values in columns.values() for task in values)
    rows = rows_by_task(tasks, columns.values())
    note = " ".join(metric.without_labels for metric in LABEL_FREE)
    return [grid(["task", *columns], rows), note] if columns else []


def unknown_task_section(results: Mapping[str, Any]) -> list[str]:
    """How often the task itself is found, and how often its class as well, by each rule."""
    columns = {
        f"{title} by {rule}, %": scores[key]
        for rule, scores in results.get("unknown_task", {}).items()
        for key, title in {"task_accuracy": "right task", "accuracy": "right class"}.items()
        if scores[key]
    }
    rows = rows_by_task(results["tasks"], columns.values())
    return [grid(["task", *columns], rows)] if columns else []


def sizes_and_times(results: Mapping[str, Any]) -> list[str]:
    """Parameters of the encoder, and seconds of each stage."""
    total, trainable = (results["parameters"][key] for key in ("total", "trainable"))
    seconds = ", ".join(f"{stage} {value:.1f}" for stage, value in results["seconds"].items())
    return [
        f"- Parameters of the encoder: {total:,}, of which {trainable:,} trainable\n"
        f"- Seconds: {seconds}"
    ]


def origin(results: Mapping[str, Any]) -> list[str]:
    """What the run can be repeated from, and what the guard against collapse saw."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    facts = {"Seed": results["seed"], "Git revision": results.get("revision"), "Versions": versions}
    told = [f"- {name}: {fact}" for name, fact in facts.items() if fact is not None]
    told += [f"- {sentence}" for sentence in guard_sentences(results.get("guard", {}))]
    told += [f"- {sentence}" for sentence in results.get("run", {}).get("history", [])]
    sources = [
        [part, source["source"], f"`{source['sha256'][:SHORT_HASH]}`"]
        for part, source in results["sources"].items()
    ]
    return [
        *([f"```\n{results['command']}\n```"] if results.get("command") else []),
        "\n".join(told),
        *([grid(["part", "source", "SHA-256"], sources, align="---")] if sources else []),
    ]


def guard_sentences(report: Mapping[str, Any]) -> list[str]:
    """The report of a `CollapseGuard` in words; none if nothing happened."""
    told = [
        f"The predictions for {task} began to collapse at step {step}"
        for task, step in report.get("collapsed", {}).items()
    ]
    if (step := report.get("restored_step")) is not None:
        told.append(f"In the end the state of step {step} was restored, the best without labels")
    return told
