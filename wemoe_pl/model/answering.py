"""Answer questions about the images of a batch, whose tasks may differ, in one forward pass."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from wemoe_pl.model.measured import Thresholds
from wemoe_pl.model.multi_task_model import MultiTaskModel, logits_of_rows
from wemoe_pl.model.prediction import Prediction, Ranking, ranked
from wemoe_pl.model.task_inference import InferenceRule, InferredTask, infer_task
from wemoe_pl.system.warn import warn_once


class Question(NamedTuple):
    """A question asks what one image of a batch shows.

    Attributes:
        row: the place of the image in the batch.
        task: the task of the image; None if it is to be inferred.
        top: the number of classes that the answer lists.
        least: the confidence below which the image is of none of the tasks, by inferred task.
    """

    row: int
    task: str | None = None
    top: int = 1
    least: Mapping[str, float] = {}


def answers_to(
    questions: Sequence[Question],
    model: MultiTaskModel,
    images: Tensor,
    candidates: Sequence[str],
    rule: InferenceRule | None,
) -> list[Prediction]:
    """Answer questions in one forward pass: each head is applied once, to the rows that need it.

    Routing weights of the batch are left in `model.routing_weights`.

    Args:
        questions: the questions, each about a row of the images.
        model: the model that answers.
        images: the images, (B, 3, H, W).
        candidates: the tasks among which a task is inferred.
        rule: the rule by which it is inferred; None if every question names its task.
    """
    open_rows = list(dict.fromkeys(q.row for q in questions if q.task is None))
    rows = {task: list(open_rows) for task in (candidates if open_rows else ())}
    for question in questions:
        if question.task is not None:
            rows.setdefault(question.task, []).append(question.row)
    with model.recorded_routing():
        logits = logits_of_rows(model, images, rows)
        routing_weights = model.routing_weights
    inferred: dict[int, tuple[str, float | None]] = {}
    if open_rows:
        assert rule is not None, "a question without a task needs a rule"
        of_open = {task: logits[task][: len(open_rows)] for task in candidates}
        routed = [weights[open_rows] for weights in routing_weights]
        found = infer_task(rule, of_open, routed, model.experts)
        inferred = dict(zip(open_rows, named_tasks(found, candidates), strict=True))
    most = max((question.top for question in questions), default=1)
    ranked_rows = {
        task: dict(zip(rows[task], ranked(values, model.head(task).classes, most), strict=True))
        for task, values in logits.items()
    }
    return [one_answer(question, inferred, ranked_rows) for question in questions]


def one_answer(
    question: Question,
    inferred: Mapping[int, tuple[str, float | None]],
    ranked_rows: Mapping[str, Mapping[int, Ranking]],
) -> Prediction:
    """Return the answer to a question, from the inferred tasks and the rankings of each task."""
    task, sure = (question.task, None) if question.task else inferred[question.row]
    if sure is not None and sure < question.least.get(task, 0):
        return Prediction.of_none(sure)
    ranking = ranked_rows[task][question.row][: question.top]
    return Prediction(task, sure, *ranking[0], ranking)


def named_tasks(inferred: InferredTask, tasks: Sequence[str]) -> list[tuple[str, float | None]]:
    """Return the name of each inferred task with the confidence in it."""
    found = zip(*(values.tolist() for values in inferred), strict=True)
    return [(tasks[place], confidence) for place, confidence in found]


def thresholds_by(rule: InferenceRule, thresholds: Thresholds) -> Mapping[str, float]:
    """Return the thresholds of a rule, or none with a warning if the rule was not calibrated."""
    if rule not in thresholds:
        warn_once(
            "The model cannot say that an image belongs to none of the tasks, since it has no "
            "thresholds for that: score the run with this version of wemoe-pl, which keeps them in "
            "results and exports."
        )
    return thresholds.get(rule, {})
