"""Measure how often a model finds both task and class of an image whose task nobody names."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from wemoe_pl.data.tasks import UNLABELLED
from wemoe_pl.model.task_inference import InferenceRule, InferredTask, infer_task
from wemoe_pl.training.gathering import gather_metrics
from wemoe_pl.training.metrics import mean

REJECTED = 0.05  # share of the images adapted on; docs/use.md says how well that rejects others
CONFIDENCE_BINS = 1000


class UnknownTaskAccuracy(Metric):
    """The metric is two shares of images: with the right task, and also with the right class, (2,).

    Args:
        place: the place of the true task among all tasks.
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
        """Return the shares of right tasks, and of right classes of the right task.

        They are in double precision, as accuracies are, so that equal ones are rounded alike.
        """
        return self.right.cpu().double() / self.images.cpu()


class Confidences(Metric):
    """The metric counts the confidences of inferred tasks, in bins, by the inferred task.

    It gives a threshold per task: an image is of none of the tasks if the confidence in its
    inferred task is lower than for all but a share `REJECTED` of the counted images with the same
    inferred task. That needs no labels.

    Args:
        tasks: the number of tasks.
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
        """Return the threshold of every task, (T,); 0 for one that was never inferred."""
        counts = self.counts.cpu()
        below = counts.cumsum(dim=1) - counts  # the number of images in lower bins
        allowed = REJECTED * counts.sum(dim=1, keepdim=True)
        highest = (below <= allowed).sum(dim=1) - 1
        return torch.where(counts.sum(dim=1) > 0, highest, 0).double() / CONFIDENCE_BINS


class UnknownTaskScores:
    """`UnknownTaskScores` scores each task with inferred tasks, by all rules that the model allows.

    Args:
        tasks: the tasks that have a head.
        experts: the experts in the order of the routing weights; thresholds are calibrated on the
            images of their tasks, or on those of all tasks if there are no experts.
        rules: the rules by which tasks are inferred.
        device: the device of the counts.
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
        """Count a batch of a task by the logits of all heads and the routing weights per block."""
        for rule, metrics in self._metrics.items():
            inferred = infer_task(rule, logits, routing_weights, self.experts)
            metrics[task].update(inferred.place, logits[task], labels)
            if task in self.calibrated_on:
                self._confidences[rule].update(inferred)

    def gather(self) -> None:
        """Add up the counts of all processes."""
        for metrics in self._metrics.values():
            gather_metrics(metrics.values())
        gather_metrics(self._confidences.values())

    def compute(self) -> dict[str, dict[str, Any]]:
        """Return `accuracy` and `task_accuracy` per labelled task, `mean`, `threshold`, by rule.

        The threshold is the confidence below which an image is of none of the tasks.
        """
        return {
            rule: {**scores_of_rule(metrics), "threshold": self.thresholds(rule)}
            for rule, metrics in self._metrics.items()
        }

    def thresholds(self, rule: InferenceRule) -> dict[str, float]:
        """Return the threshold of every task that a rule has inferred."""
        values = (
            self._confidences[rule].compute().reshape(-1).tolist()
        )  # a scalar if there is one task
        return {task: value for task, value in zip(self.tasks, values, strict=True) if value}


def scores_of_rule(metrics: Mapping[str, UnknownTaskAccuracy]) -> dict[str, Any]:
    """Return the scores of one rule."""
    values = {t: m.compute().tolist() for t, m in metrics.items() if m.images}
    accuracy = {task: right_class for task, (_, right_class) in values.items()}
    task_accuracy = {task: right_task for task, (right_task, _) in values.items()}
    return {"accuracy": accuracy, "mean": mean(accuracy), "task_accuracy": task_accuracy}
