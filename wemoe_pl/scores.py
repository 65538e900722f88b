"""What is counted while tasks are scored, with labels and without."""

import math
from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCalibrationError,
    MulticlassConfusionMatrix,
)

from wemoe_pl.tasks import UNLABELLED


class TaskScores:
    """What the predictions of every task come to: how often they are right, and how they spread.

    Attributes:
        images: how many labelled images of each task were counted.

    >>> scores = TaskScores({"mnist": 10, "dtd": 47})
    >>> scores.update("mnist", torch.eye(10), torch.arange(10))
    >>> scores.accuracy()
    {'mnist': 1.0}
    """

    def __init__(self, num_classes: Mapping[str, int], device: torch.device | str = "cpu"):
        self._accuracy: dict[str, Metric] = {
            task: MulticlassAccuracy(n, average="micro").to(device)
            for task, n in num_classes.items()
        }
        self._calibration: dict[str, Metric] = {
            task: MulticlassCalibrationError(n).to(device) for task, n in num_classes.items()
        }
        self._information: dict[str, Metric] = {
            task: Information(n).to(device) for task, n in num_classes.items()
        }
        self._diversity: dict[str, Metric] = {
            task: Diversity(n).to(device) for task, n in num_classes.items()
        }
        self._confusion: dict[str, Metric] = {
            task: MulticlassConfusionMatrix(n).to(device) for task, n in num_classes.items()
        }
        self.images: Counter[str] = Counter()

    def update(self, task: str, logits: Tensor, labels: Tensor) -> None:
        """Count a batch of a task, labelled or not."""
        self._information[task].update(logits)
        self._diversity[task].update(logits)
        labelled = labels != UNLABELLED
        if not labelled.any():
            return
        logits, labels = logits[labelled], labels[labelled]
        self.images[task] += len(labels)
        self._accuracy[task].update(logits, labels)
        self._calibration[task].update(logits.softmax(dim=-1), labels)
        self._confusion[task].update(logits, labels)

    def accuracy(self) -> dict[str, float]:
        """Accuracy, 0 to 1, of the tasks that were scored."""
        return computed(self._accuracy)

    def calibration_error(self) -> dict[str, float]:
        """Expected calibration error (15 bins), 0 to 1, of the tasks that were scored."""
        return computed(self._calibration)

    def information(self) -> dict[str, float]:
        """See `Information`; it needs no labels."""
        return computed(self._information)

    def diversity(self) -> dict[str, float]:
        """See `Diversity`; it needs no labels."""
        return computed(self._diversity)

    def confusion(self) -> dict[str, Tensor]:
        """How often each class was taken for each, (C, C), true classes in rows."""
        return {task: m.compute().cpu() for task, m in self._confusion.items() if m.update_called}


class Information(Metric):
    """How much predictions tell about the images, without labels: (H(p̄) − mean H(p)) / log C.

    It is the mutual information of image and predicted class, 1 when every prediction is certain
    and all classes are predicted equally often, 0 when all images get the same answer.

    Args:
        num_classes: C.

    >>> certain = Information(2)
    >>> certain.update(torch.tensor([[99.0, 0.0], [0.0, 99.0]]))
    >>> certain.compute()
    tensor(1.)
    """

    total: Tensor
    entropy: Tensor
    images: Tensor

    def __init__(self, num_classes: int):
        super().__init__()
        self.add_state("total", torch.zeros(num_classes), dist_reduce_fx="sum")
        self.add_state("entropy", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("images", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, logits: Tensor) -> None:
        """Add a batch, (B, C)."""
        log_probabilities = logits.float().log_softmax(dim=-1)
        self.total += log_probabilities.exp().sum(dim=0)
        self.entropy += entropy(log_probabilities).sum()
        self.images += len(logits)

    def compute(self) -> Tensor:
        """From 0 to 1."""
        if len(self.total) == 1:
            return torch.zeros_like(self.entropy)
        of_mean = torch.special.entr(self.total / self.images).sum()
        return (of_mean - self.entropy / self.images) / math.log(len(self.total))


class Diversity(Metric):
    """Over how large a share of its classes a task's answers spread: exp(H) / C of their histogram.

    It is 1 when all classes are answered equally often, 1/C when all images get the same answer.

    Args:
        num_classes: C.

    >>> collapsed = Diversity(4)
    >>> collapsed.update(torch.tensor([[9.0, 0, 0, 0], [9.0, 0, 0, 0]]))
    >>> collapsed.compute()
    tensor(0.2500)
    """

    answers: Tensor

    def __init__(self, num_classes: int):
        super().__init__()
        self.add_state("answers", torch.zeros(num_classes), dist_reduce_fx="sum")

    def update(self, logits: Tensor) -> None:
        """Add a batch, (B, C)."""
        self.answers += logits.argmax(dim=-1).bincount(minlength=len(self.answers))

    def compute(self) -> Tensor:
        """From 1/C to 1."""
        return torch.tensor(spread(self.answers) / len(self.answers))


def spread(histogram: Tensor) -> float:
    """How many classes a histogram is spread over: exp(H).

    >>> spread(torch.tensor([5.0, 5.0, 0.0])), spread(torch.tensor([7.0, 0.0, 0.0]))
    (2.0, 1.0)
    """
    return torch.special.entr(histogram / histogram.sum()).sum().exp().item()


def entropy(log_probabilities: Tensor) -> Tensor:
    """Entropy in nats along the last dimension, (…, C) → (…).

    From logarithms, since those of a certain prediction are finite and so is the gradient.

    >>> entropy(torch.tensor([[0.0, 0.0], [1e4, 0.0]]).log_softmax(dim=-1))
    tensor([0.6931, 0.0000])
    """
    return (log_probabilities.exp() * -log_probabilities).sum(dim=-1)


def computed(metrics: Mapping[str, Metric]) -> dict[str, float]:
    """The values of the metrics that have seen at least one batch."""
    return {task: m.compute().item() for task, m in metrics.items() if m.update_called}


def mean(values: Mapping[str, float]) -> float | None:
    """The mean of a mapping's values; None if it has none."""
    return sum(values.values()) / len(values) if values else None


def normalized_mean(accuracy: Mapping[str, float], individual: Mapping[str, float]) -> float | None:
    """Mean over tasks of accuracy ÷ that task's individual accuracy; None without experts.

    >>> normalized_mean({"mnist": 0.9, "dtd": 0.6}, {"mnist": 0.9, "dtd": 0.8})
    0.875
    """
    ratios = {t: accuracy[t] / value for t, value in individual.items() if t in accuracy and value}
    return mean(ratios)
