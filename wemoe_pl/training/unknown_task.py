"""One model, all heads: how often the task is found when nobody says it, and the class as well."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from wemoe_pl.data.tasks import UNLABELLED
from wemoe_pl.model.task_inference import InferenceRule, InferredTask, infer_task
from wemoe_pl.training.gathering import gather_metrics
from wemoe_pl.training.metrics import mean

REJECTED = 0.05  # of the images that a model was adapted on: docs/use.md says what that finds
CONFIDENCE_BINS = 1000


class UnknownTaskAccuracy(Metric):
    """The accuracy when tasks are inferred: shares of right tasks, and of right classes too, (2,).

    Args:
        place: of the true task among all.
    """

    right: Tensor
    images: Tensor

    def __init__(self, place: int):
        super().__init__(sync_on_compute=False)
        self.place = place
        self.add_state("right", torch.zeros(2, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("images", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, inferred: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: inferred tasks (B,), logits of the true task's head (B, C), labels (B,)."""
        labelled = labels != UNLABELLED
        right_task = (inferred == self.place) & labelled
        right_class = right_task & (logits.argmax(dim=-1) == labels)
        self.right += torch.stack([right_task.sum(), right_class.sum()])
        self.images += labelled.sum()

    def compute(self) -> Tensor:
        """The shares of right tasks, and of right classes of the right task.

        They are in double precision, as accuracies are, so that equal ones are rounded alike.
        """
        return self.right.cpu().double() / self.images.cpu()


class Confidences(Metric):
    """The confidences with which tasks are inferred, counted in bins by the inferred task.

    From them follows when an image is of none of the tasks: when its task is inferred with less
    confidence than all but a few of the images had for which the same task was inferred. That
    needs no labels.

    Args:
        tasks: how many there are.
    """

    counts: Tensor

    def __init__(self, tasks: int):
        super().__init__(sync_on_compute=False)
        zeros = torch.zeros(tasks, CONFIDENCE_BINS, dtype=torch.long)
        self.add_state("counts", zeros, dist_reduce_fx="sum")

    def update(self, inferred: InferredTask) -> None:
        """Count a batch."""
        shares = inferred.confidence.nan_to_num().clamp(0, 1)
        bins = (shares * CONFIDENCE_BINS).long().clamp(max=CONFIDENCE_BINS - 1)
        places = inferred.place * CONFIDENCE_BINS + bins
        added = places.bincount(minlength=self.counts.numel())
        self.counts += added.view_as(self.counts)

    def compute(self) -> Tensor:
        """The threshold of every task, (T,); 0 of one that was never inferred."""
        counts = self.counts.cpu()
        below = counts.cumsum(dim=1) - counts  # how many lie in lower bins
        allowed = REJECTED * counts.sum(dim=1, keepdim=True)
        highest = (below <= allowed).sum(dim=1) - 1
        return torch.where(counts.sum(dim=1) > 0, highest, 0).double() / CONFIDENCE_BINS


class UnknownTaskScores:
    """Scores of every task when the task is inferred, by every rule that the model allows.

    Args:
        tasks: those that have a head.
        experts: in the order of the routing weights; the images of their tasks say which confidence
            is usual, or those of all tasks if there are none.
        rules: by which tasks are inferred.
        device: of the counts.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        experts: Sequence[str],
        rules: Sequence[InferenceRule],
        device: torch.device | str = "cpu",
    ):
        self.tasks = tasks
        self.calibrated_on = experts or tasks
        self.experts = experts
        self._metrics: dict[InferenceRule, dict[str, UnknownTaskAccuracy]] = {
            rule: {t: UnknownTaskAccuracy(place).to(device) for place, t in enumerate(tasks)}
            for rule in rules
        }
        self._confidences = {rule: Confidences(len(tasks)).to(device) for rule in rules}

    def update(
        self,
        task: str,
        logits: Mapping[str, Tensor],
        labels: Tensor,
        routing_weights: Sequence[Tensor],
    ) -> None:
        """Count a batch of a task: the logits of all heads, and the routing weights per block."""
        for rule, metrics in self._metrics.items():
            inferred = infer_task(rule, logits, routing_weights, self.experts)
            metrics[task].update(inferred.place, logits[task], labels)
            if task in self.calibrated_on:
                self._confidences[rule].update(inferred)

    def gather(self) -> None:
        """Count what all processes have counted."""
        for metrics in self._metrics.values():
            gather_metrics(metrics.values())
        gather_metrics(self._confidences.values())

    def compute(self) -> dict[str, dict[str, Any]]:
        """By rule: `accuracy` and `task_accuracy` of every task with labels, `mean`, `threshold`.

        The threshold is the confidence below which an image is of none of the tasks.
        """
        return {
            rule: {**scores_of_rule(metrics), "threshold": self.thresholds(rule)}
            for rule, metrics in self._metrics.items()
        }

    def thresholds(self, rule: InferenceRule) -> dict[str, float]:
        """The threshold of every task that was inferred by a rule."""
        values = (
            self._confidences[rule].compute().reshape(-1).tolist()
        )  # of one task it is a number
        return {task: value for task, value in zip(self.tasks, values, strict=True) if value}


def scores_of_rule(metrics: Mapping[str, UnknownTaskAccuracy]) -> dict[str, Any]:
    """Compute the scores of one rule."""
    values = {t: m.compute().tolist() for t, m in metrics.items() if m.images}
    accuracy = {task: right_class for task, (_, right_class) in values.items()}
    task_accuracy = {task: right_task for task, (right_task, _) in values.items()}
    return {"accuracy": accuracy, "mean": mean(accuracy), "task_accuracy": task_accuracy}
