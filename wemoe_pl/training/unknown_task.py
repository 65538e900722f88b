"""One model, all heads: how often the task is found when nobody says it, and the class as well."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from wemoe_pl.data.tasks import UNLABELLED
from wemoe_pl.model.task_inference import InferenceRule, infer_task
from wemoe_pl.training.gathering import gather_metrics
from wemoe_pl.training.metrics import mean


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


class UnknownTaskScores:
    """Scores of every task when the task is inferred, by every rule that the model allows.

    Args:
        tasks: those that have a head.
        experts: in the order of the routing weights; none for a model without routers.
        device: of the counts.
        by_entropy: are the heads' entropies worth a comparison?
    """

    def __init__(
        self,
        tasks: Sequence[str],
        experts: Sequence[str],
        device: torch.device | str = "cpu",
        by_entropy: bool = True,
    ):
        self.experts = experts
        allowed: dict[InferenceRule, bool] = {"entropy": by_entropy, "routing": bool(experts)}
        rules = [rule for rule, is_allowed in allowed.items() if is_allowed]
        self._metrics: dict[InferenceRule, dict[str, UnknownTaskAccuracy]] = {
            rule: {t: UnknownTaskAccuracy(place).to(device) for place, t in enumerate(tasks)}
            for rule in rules
        }

    def update(
        self,
        task: str,
        logits: Mapping[str, Tensor],
        labels: Tensor,
        routing_weights: Sequence[Tensor],
    ) -> None:
        """Count a batch of a task: the logits of all heads, and the routing weights per block."""
        for rule, metrics in self._metrics.items():
            inferred = infer_task(rule, logits, routing_weights, self.experts).place
            metrics[task].update(inferred, logits[task], labels)

    def gather(self) -> None:
        """Count what all processes have counted."""
        for metrics in self._metrics.values():
            gather_metrics(metrics.values())

    def compute(self) -> dict[str, dict[str, Any]]:
        """By rule: `accuracy` and `task_accuracy` of every task with labels, and `mean`."""
        return {rule: scores_of_rule(metrics) for rule, metrics in self._metrics.items()}


def scores_of_rule(metrics: Mapping[str, UnknownTaskAccuracy]) -> dict[str, Any]:
    """Compute the scores of one rule."""
    values = {t: m.compute().tolist() for t, m in metrics.items() if m.images}
    accuracy = {task: right_class for task, (_, right_class) in values.items()}
    task_accuracy = {task: right_task for task, (right_task, _) in values.items()}
    return {"accuracy": accuracy, "mean": mean(accuracy), "task_accuracy": task_accuracy}
