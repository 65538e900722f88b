"""Define the answer of a classifier about an image."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

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


def ranked(logits: Tensor, classes: Sequence[str], top: int) -> list[Ranking]:
    """Return for each row of (B, C) the most probable classes with probabilities, best first."""
    best = logits.softmax(dim=-1).topk(min(top, len(classes)), dim=-1)
    return [
        [(classes[label], probability) for label, probability in zip(*row, strict=True)]
        for row in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
