"""The answers of the experts, with which a model is compared where there are no labels."""

from collections import Counter

from torch import Tensor

from wemoe_pl.model.classifier import MultiTaskClassifier


class ExpertAnswers:
    """The classes that the experts answer for images which are scored again and again.

    The experts are asked once, the first time that the images come, and then let go of.

    Args:
        experts: the classifier in which each expert answers for its own task.
    """

    def __init__(self, experts: MultiTaskClassifier):
        self._experts: MultiTaskClassifier | None = experts
        self._answers: dict[str, list[Tensor]] = {}
        self._next: Counter[str] = Counter()

    def of_batch(self, task: str, images: Tensor) -> Tensor | None:
        """Return the expert's classes, (B,), for the next batch of a task; None without one."""
        if self._experts is not None and task in self._experts.tasks:
            answers = self._experts(images, task).argmax(dim=-1)
            self._answers.setdefault(task, []).append(answers)
        if task not in self._answers:
            return None
        self._next[task] += 1
        return self._answers[task][self._next[task] - 1]

    def start_again(self) -> None:
        """Expect the same batches from the first on, without the experts."""
        self._experts = None
        self._next.clear()
