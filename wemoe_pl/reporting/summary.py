"""Summarise a run in the tables that it prints, and in its page, `summary.md`."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from wemoe_pl.merging.spelling import spelled
from wemoe_pl.reporting.intervals import in_percent, interval_of, interval_of_mean
from wemoe_pl.reporting.markdown import as_markdown, fenced, grid, inline_code
from wemoe_pl.reporting.run_notes import corruption_of, notes_on_means, notes_on_run
from wemoe_pl.reporting.table import percent
from wemoe_pl.reporting.without_labels import (
    compared_metric,
    compared_references,
    label_free_section,
    label_free_table,
    scored_tasks,
    unlabelled_tasks,
)
from wemoe_pl.system.files import atomic_write
from wemoe_pl.training.metrics import mean, normalized_mean
from wemoe_pl.training.references import EXPERTS, REFERENCES
from wemoe_pl.training.shown_metrics import ACCURACY, CALIBRATION, INFORMATION

CALIBRATION_NOTE = (
    "Calibration error is the distance between confidence and accuracy, on average over 15 bins of "
    "confidence: it is 0 if, of the answers given with a confidence of 80 %, for example, 80 % are "
    "right."
)
INTERVALS_NOTE = (
    "With a confidence of 95 %, the accuracy on further images of the same kind lies between these "
    "bounds, in percent. Another seed of the run may change it by more."
)
REFERENCES_NOTE = (
    "Pretrained is the model before any fine-tuning, and individual is every expert on its own "
    "task. The normalized mean is the mean of the accuracies, each divided by that of its expert."
)
SHORT_HASH = 12  # shown characters of the 64 of a SHA-256


def run_tables(results: Mapping[str, Any]) -> list[Table]:
    """Make the tables that a run prints: one that compares it, and one of tasks without labels.

    Args:
        results: the contents of a `results.json`.
    """
    unlabelled = unlabelled_tasks(results)
    is_compared = not unlabelled or compared_metric([results]) is not INFORMATION
    tables = [accuracy_table(results)] if is_compared else []
    return [*tables, label_free_table(results)] if unlabelled else tables


def accuracy_table(results: Mapping[str, Any]) -> Table:
    """Make the table that compares a run: a row per task, a column per method, and means below.

    If no image has a label, it shows the metric that stands in for the accuracy.

    Args:
        results: the contents of a `results.json`.
    """
    caption = f"{compared_metric([results]).title.capitalize()} on {results['suite']}, %"
    notes = [*notes_on_run(results), results.get("curves"), *notes_on_means(results)]
    below = "\n".join(filter(None, notes))
    table = Table(title=caption, caption=below or None, min_width=len(caption))
    titles, rows = accuracy_rows(results)
    for title in titles:
        style = "bold" if title == own_title(results) else ""
        table.add_column(title, justify="left" if title == titles[0] else "right", style=style)
    for place, row in enumerate(rows, start=1):
        table.add_row(*row, end_section=place == len(scored_tasks(results)))
    return table


def accuracy_rows(results: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the titles of the columns, and a row per task with the means below, in percent.

    Args:
        results: the contents of a `results.json`.
    """
    columns, metric = accuracy_columns(results), compared_metric([results])
    rows = rows_by_task(scored_tasks(results), columns.values())
    if individual := compared_references(results, metric).get(EXPERTS):
        normalized = (normalized_mean(values, individual) for values in columns.values())
        rows.append(["normalized mean", *map(percent, normalized)])
    return ["task", *columns], rows


def accuracy_columns(results: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    """Return the accuracy of a run and of its references, 0 to 1, by title and task.

    If no image has a label, another metric stands in for the accuracy; see `compared_metric`.

    Args:
        results: the contents of a `results.json`.
    """
    metric = compared_metric([results])
    references = compared_references(results, metric)
    own = own_reference_of(results)
    columns: dict[str, Mapping[str, float] | None] = {}
    for key, reference in REFERENCES.items():
        if reference.is_ceiling:
            columns[own_title(results)] = results.get(metric.result)
        if key != own:
            columns[reference.title] = references.get(key)
    return {title: values for title, values in columns.items() if values}


def own_title(results: Mapping[str, Any]) -> str:
    """Return the title of the column of a run's own method.

    If the class of a user's own method would get the title of a reference, its own name is used.
    """
    title = spelled(results["method"])
    is_taken = title in {reference.title for reference in REFERENCES.values()}
    return results["method"] if is_taken and own_reference_of(results) is None else title


def own_reference_of(results: Mapping[str, Any]) -> str | None:
    """Return the key of the reference that a run is itself, if it is one."""
    by_label = {reference.label: key for key, reference in REFERENCES.items()}
    # Results of earlier versions lack `own_reference`.
    return results.get("own_reference", by_label.get(results["method"]))


def rows_by_task(tasks: Iterable[str], columns: Iterable[Mapping[str, float]]) -> list[list[str]]:
    """Return a row per task, and a row of the means below, in percent.

    >>> rows_by_task(["cars", "dtd"], [{"cars": 0.5, "dtd": 0.6}, {"dtd": 1.0}])
    [['cars', '50.0', '–'], ['dtd', '60.0', '100.0'], ['mean', '55.0', '100.0']]
    """
    columns = list(columns)
    rows = [[task, *(percent(values.get(task)) for values in columns)] for task in tasks]
    return [*rows, ["mean", *(percent(mean(values)) for values in columns)]]


def write_summary(path: Path, results: Mapping[str, Any], figures: Sequence[str]) -> None:
    """Write `summary_page`, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(summary_page(results, figures), encoding="utf-8")


def summary_page(results: Mapping[str, Any], figures: Sequence[str]) -> str:
    """Return the page on a run, as Markdown: its scores, how it was made, and its figures.

    Args:
        results: the contents of a `results.json`.
        figures: the names of files next to the page, such as `routing_share.png`.
    """
    sections = {
        compared_metric([results]).label.capitalize(): accuracy_section(results),
        "Intervals": interval_section(results),
        "Calibration": calibration_section(results),
        "Without labels": label_free_section(results),
        "When the task is not known": unknown_task_section(results),
        "Size and time": size_section(results),
        "How it was made": origin_section(results),
        "Pictures": [f"![{Path(name).stem.replace('_', ' ')}]({name})" for name in figures],
    }
    title = as_markdown(f"{spelled(results['method'])} on {results['suite']}")
    page = [f"# {title}", *warnings_of(results)]
    for heading, paragraphs in sections.items():
        page += [f"## {heading}", *paragraphs] if paragraphs else []
    return "\n\n".join(page) + "\n"


def warnings_of(results: Mapping[str, Any]) -> list[str]:
    """Return quoted notes that must be known before any number is read."""
    sentences = [*notes_on_run(results), results.get("curves"), *notes_on_means(results)]
    if corruption := corruption_of(results):
        sentences.append(f"The test images are corrupted: {corruption}.")
    return [f"> {as_markdown(sentence)}" for sentence in sentences if sentence]


def accuracy_section(results: Mapping[str, Any]) -> list[str]:
    """Return the table that compares a run, if it has the compared metric, with a note."""
    is_measured = bool(results.get(compared_metric([results]).result))
    return [grid(*accuracy_rows(results)), REFERENCES_NOTE] if is_measured else []


def interval_section(results: Mapping[str, Any]) -> list[str]:
    """Return the intervals of the accuracies, if the numbers of scored images are known."""
    accuracy, images = results.get(ACCURACY.result), results.get("images")
    if not accuracy or not images:
        return []
    rows = [
        [task, str(images[task]), in_percent(interval_of(value, images[task]))]
        for task, value in accuracy.items()
    ]
    total = str(sum(images[task] for task in accuracy))
    rows.append(["mean", total, in_percent(interval_of_mean(accuracy, images))])
    return [grid(["task", "images", spelled(results["method"])], rows), INTERVALS_NOTE]


def calibration_section(results: Mapping[str, Any]) -> list[str]:
    """Return the calibration errors, if any image has a label, with a note."""
    errors = results.get(CALIBRATION.result)
    if not errors:
        return []
    rows = rows_by_task(scored_tasks(results), [errors])
    return [grid(["task", CALIBRATION.label], rows), CALIBRATION_NOTE]


def unknown_task_section(results: Mapping[str, Any]) -> list[str]:
    """Return how often each rule finds the task, and how often the class is right as well."""
    columns = {
        f"{title} by {rule}, %": scores[key]
        for rule, scores in results.get("unknown_task", {}).items()
        for key, title in {"task_accuracy": "right task", "accuracy": "right class"}.items()
        if scores[key]
    }
    rows = rows_by_task(scored_tasks(results), columns.values())
    return [grid(["task", *columns], rows)] if columns else []


def size_section(results: Mapping[str, Any]) -> list[str]:
    """Return the parameters of the encoder, and the seconds of each stage."""
    total, trainable = (results["parameters"][key] for key in ("total", "trainable"))
    seconds = ", ".join(f"{stage} {value:.1f}" for stage, value in results["seconds"].items())
    return [
        f"- Parameters of the encoder: {total:,}, of which {trainable:,} trainable\n"
        f"- Seconds: {as_markdown(seconds)}"
    ]


def origin_section(results: Mapping[str, Any]) -> list[str]:
    """Return the facts to repeat the run from, and what the guard against collapse saw."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    facts = {"Seed": results["seed"], "Git revision": results.get("revision"), "Versions": versions}
    lines = [f"{name}: {fact}" for name, fact in facts.items() if fact is not None]
    lines += guard_sentences(results.get("guard", {}))
    lines += results.get("run", {}).get("history", [])
    sources = [
        [part, source["source"], inline_code(source["sha256"][:SHORT_HASH])]
        for part, source in results["sources"].items()
    ]
    return [
        *([fenced(results["command"])] if results.get("command") else []),
        "\n".join(f"- {as_markdown(line)}" for line in lines),
        *([grid(["part", "source", "SHA-256"], sources, align="---")] if sources else []),
    ]


def guard_sentences(report: Mapping[str, Any]) -> list[str]:
    """Return the report of a `CollapseGuard` as sentences; [] if nothing happened."""
    sentences = [
        f"The predictions for {task} began to collapse at step {step}"
        for task, step in report.get("collapsed", {}).items()
    ]
    if (step := report.get("restored_step")) is not None:
        sentences.append(
            f"At the end the state of step {step} was restored, which was the best by "
            f"{report.get('score', 'information')}, a score without labels"
        )
    return sentences
