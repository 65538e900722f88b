"""Finish a run that was scored: collect, draw and write its results."""

from collections.abc import Iterable
from typing import Any

from lightning import Trainer
from lightning.pytorch.loggers import Logger
from rich.table import Table

from wemoe_pl.callbacks.collapse_guard import CollapseGuard
from wemoe_pl.callbacks.curves import Curves
from wemoe_pl.callbacks.lookup import callbacks_of
from wemoe_pl.callbacks.validation_schedule import ValidationSchedule
from wemoe_pl.data.vision_data import VisionData
from wemoe_pl.model.recipe import describe
from wemoe_pl.reporting.dashboard import Dashboard
from wemoe_pl.reporting.loggers import RunLogger
from wemoe_pl.reporting.plots.run import write_figures
from wemoe_pl.reporting.results import collect_results, write_results
from wemoe_pl.reporting.summary import run_tables, write_summary
from wemoe_pl.reporting.without_labels import adaptation_ends
from wemoe_pl.runs.partial import PARTIAL, what_was_scored, what_was_validated
from wemoe_pl.runs.session import Command, Session
from wemoe_pl.training.module import MultiTaskModule
from wemoe_pl.training.open_stream import unannounced_note
from wemoe_pl.training.shown_metrics import ACCURACY, INFORMATION, SHOWN_METRICS


def validation_tables(trainer: Trainer, model: MultiTaskModule, data: VisionData) -> list[Table]:
    """Return the tables of the scores of a validation, in the form of a test's tables."""
    partial = what_was_scored(trainer)
    scores = {m.result: m.score(model.scores) for m in SHOWN_METRICS if m.score}
    about: dict[str, Any] = {
        "suite": model.suite.name,
        "note": model.suite.note,
        "render": describe(data.test_render),
        "method": model.method + (PARTIAL if partial else ""),
        "tasks": list(scores[ACCURACY.result] or scores[INFORMATION.result]),
        "partial": partial,
        "reference": {},
    }
    return run_tables(about | scores)


def images_of_curves(trainer: Trainer) -> str | None:
    """Say which part of the test images was scored for the validation curves; None if all were."""
    schedules = callbacks_of(trainer, ValidationSchedule)
    return next((s.note for s in schedules if s.note), None) or what_was_validated(trainer)


def scored_results(
    trainer: Trainer, model: MultiTaskModule, data: VisionData, command: Command, seed: int
) -> dict[str, Any]:
    """Collect the results of a scored model, without the facts that the run's folder adds to them.

    Args:
        trainer: the trainer that has scored the model.
        model: the model with its scores.
        data: the data module whose images were scored.
        command: the command; results of a fit have the stream, the guard and the adaptation, too.
        seed: the seed of everything random.
    """
    results = collect_results(model, seed, data.corruption, data.test_render)
    partial, curves = what_was_scored(trainer), images_of_curves(trainer)
    results |= {"partial": partial, "curves": curves}
    results["method"] += PARTIAL if partial else ""
    if command == "fit":
        of_experts = getattr(model, "expert_note", "")
        about_stream = data.stream_note, unannounced_note(model), of_experts
        results["stream"] = " ".join(filter(None, about_stream))
        [guard] = callbacks_of(trainer, CollapseGuard)
        results["guard"] = guard.report
        points, restored = callbacks_of(trainer, Curves)[0].points, guard.report["restored_step"]
        results["adaptation"] = adaptation_ends(points, restored)
    return results


def finish_run(
    trainer: Trainer,
    model: MultiTaskModule,
    data: VisionData,
    session: Session,
    seed: int,
    command_line: str | None = None,
) -> dict[str, Any]:
    """Write the figures, `summary.md` and `results.json`; with the last, a run has finished.

    Args:
        trainer: the trainer that has scored the model.
        model: the model with its scores.
        data: the data module whose images were scored.
        session: the session of the command, whose folder is written to.
        seed: the seed of everything random.
        command_line: the command line that has started the run, if there is one.

    Returns:
        The results.
    """
    points = callbacks_of(trainer, Curves)[0].points
    results = scored_results(trainer, model, data, session.command, seed)
    results |= session.facts()
    if command_line is not None:
        results["command"] = command_line
    folder = session.folder
    figures = write_figures(folder.path, model, results, points)
    write_summary(folder.summary, results, [path.name for path in figures])
    for dashboard in callbacks_of(trainer, Dashboard):
        dashboard.finish(trainer, model, results, figures, points)
    close_loggers(trainer.loggers)
    write_results(folder.results, results)  # last, since this file marks the run as finished
    session.put_in_place()
    return results


def close_loggers(loggers: Iterable[Logger]) -> None:
    """Close the loggers of the run: W&B sends what it has not sent yet."""
    for logger in loggers:
        if isinstance(logger, RunLogger):
            logger.close()
