"""Answer questions about the images of a batch, whose tasks may differ, in one forward pass."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from wemoe_pl.merging.baselines import PerTaskEncoder
from wemoe_pl.model.multi_task_model import MultiTaskModel
from wemoe_pl.model.task_inference import InferenceRule, InferredTask, infer_task
from wemoe_pl.system.warn import warn_once

Ranking = list[tuple[str, float]]


class Prediction(NamedTuple):
    """A prediction is the answer of a classifier about an image.

    Attributes:
        task: the given or inferred task; None if the image is like those of none of the tasks.
        task_confidence: the confidence in an inferred task, from 0 to 1; None if the task was
            given, or is the only one.
        class_name: the most probable class of the task; None without a task.
        probability: the probability of this class; None without a task.
        top: the most probable classes with their probabilities, as many as were asked for.
        image: the path of the image, or its row in a table; None if it was given in memory.
        error: the reason why the image could not be read; it then has no task.
    """

    task: str | None
    task_confidence: float | None
    class_name: str | None
    probability: float | None
    top: Ranking
    image: str | None = None
    error: str | None = None

    @classmethod
    def unreadable(cls, image: str, error: str) -> "Prediction":
        """Return the prediction for an image that cannot be read."""
        return cls(None, None, None, None, [], image, error)

    @classmethod
    def of_none(cls, confidence: float) -> "Prediction":
        """Return the prediction for an image of none of the tasks, whose confidence is too low."""
        return cls(None, confidence, None, None, [])

    def __repr__(self) -> str:
        """Show all fields, but `image` and `error` only if they are set."""
        always = ("task", "task_confidence", "class_name", "probability", "top")
        shown = {k: v for k, v in self._asdict().items() if k in always or v is not None}
        return f"Prediction({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


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


def logits_of_rows(
    model: MultiTaskModel, images: Tensor, rows: Mapping[str, Sequence[int]]
) -> dict[str, Tensor]:
    """Return the logits (b, C) of the rows that each task has in a batch, in one forward pass.

    An encoder that is told the task needs one pass per task.

    Args:
        model: the model whose heads give the logits.
        images: the images of all tasks, (B, 3, H, W).
        rows: the b places of each task's images in the batch.
    """
    heads = {task: model.head(task) for task in rows}
    if isinstance(model.encoder, PerTaskEncoder):
        return {t: head(model.encode(images[rows[t]], t)) for t, head in heads.items()}
    features = model.encode(images)
    return {task: head(features[rows[task]]) for task, head in heads.items()}


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


def ranked(logits: Tensor, classes: Sequence[str], top: int) -> list[Ranking]:
    """Return for each row of (B, C) the most probable classes with probabilities, best first."""
    best = logits.softmax(dim=-1).topk(min(top, len(classes)), dim=-1)
    return [
        [(classes[label], probability) for label, probability in zip(*row, strict=True)]
        for row in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def thresholds_by(
    rule: InferenceRule, thresholds: Mapping[str, Mapping[str, float]]
) -> Mapping[str, float]:
    """Return the thresholds of a rule, or none with a warning if the rule was not calibrated."""
    if rule not in thresholds:
        warn_once(
            "The model cannot say that an image belongs to none of the tasks, since it has no "
            "thresholds for that: score the run with this version of wemoe-pl, which keeps them in "
            "results and exports."
        )
    return thresholds.get(rule, {})
