"""Metrics are counted here while tasks are scored, with labels and without."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassCalibrationError, MulticlassConfusionMatrix
from torchmetrics.utilities import dim_zero_cat

from wemoe_pl.data.tasks import UNLABELLED
from wemoe_pl.training.gathering import gather_metrics

UNIT = 2.0**-40  # in which numbers are added up, so that their order does not matter


class TaskScores:
    """The scores of every task: how often its predictions are right, and how they spread.

    All are counted in whole numbers, or from sorted ones: the figures are the same to the bit
    however the images are split over processes.

    >>> scores = TaskScores({"mnist": 10, "dtd": 47})
    >>> scores.update("mnist", torch.eye(10), torch.arange(10))
    >>> scores.accuracy()
    {'mnist': 1.0}
    """

    def __init__(self, num_classes: Mapping[str, int], device: torch.device | str = "cpu"):
        sizes = num_classes.items()
        self._calibration = {task: CalibrationError(n).to(device) for task, n in sizes}
        self._information = {task: Information(n).to(device) for task, n in sizes}
        self._diversity = {task: Diversity(n).to(device) for task, n in sizes}
        self._agreement = {task: Agreement().to(device) for task in num_classes}
        self._confusion = {
            # A single class is counted rightly, but refused by torchmetrics' own checks.
            t: MulticlassConfusionMatrix(n, validate_args=n > 1, sync_on_compute=False).to(device)
            for t, n in sizes
        }

    def update(
        self, task: str, logits: Tensor, labels: Tensor, expert: Tensor | None = None
    ) -> None:
        """Count a batch of a task, labelled or not.

        Args:
            task: of all images.
            logits: (B, C).
            labels: (B,).
            expert: the classes that the task's own expert answers, (B,), if they are known.
        """
        self._information[task].update(logits)
        self._diversity[task].update(logits)
        if expert is not None:
            self._agreement[task].update(logits, expert)
        labelled = labels != UNLABELLED
        if not labelled.any():
            return
        logits, labels = logits[labelled], labels[labelled]
        self._calibration[task].update(logits.softmax(dim=-1), labels)
        self._confusion[task].update(logits, labels)

    def gather(self) -> None:
        """Count what all processes have counted; nothing is added after this."""
        counted = (self._calibration, self._information, self._diversity, self._confusion)
        for metrics in (*counted, self._agreement):
            gather_metrics(metrics.values())

    def images(self) -> dict[str, int]:
        """Return the number of labelled images that were counted, of the tasks that have any."""
        totals = {task: int(metric.confmat.sum()) for task, metric in self._confusion.items()}
        return {task: total for task, total in totals.items() if total}

    def accuracy(self) -> dict[str, float]:
        """Accuracy, 0 to 1, of the tasks with labels."""
        right = {task: int(counts.diagonal().sum()) for task, counts in self.confusion().items()}
        return {task: right[task] / total for task, total in self.images().items()}

    def calibration_error(self) -> dict[str, float]:
        """Expected calibration error (15 bins), 0 to 1, of the tasks with labels."""
        return {task: self._calibration[task].compute().item() for task in self.images()}

    def information(self) -> dict[str, float]:
        """See `Information`; it needs no labels."""
        return {t: m.compute().item() for t, m in self._information.items() if m.images}

    def entropy(self) -> dict[str, float]:
        """Mean entropy of the predictions in nats; it needs no labels."""
        return {t: m.mean_entropy().item() for t, m in self._information.items() if m.images}

    def agreement(self) -> dict[str, float]:
        """See `Agreement`, of the tasks whose expert was asked; it needs no labels."""
        return {t: m.compute().item() for t, m in self._agreement.items() if m.images}

    def diversity(self) -> dict[str, float]:
        """See `Diversity`; it needs no labels."""
        return {t: m.compute().item() for t, m in self._diversity.items() if m.answers.any()}

    def confusion(self) -> dict[str, Tensor]:
        """Return how often each class was taken for each, (C, C), with true classes in rows."""
        return {task: self._confusion[task].confmat.cpu() for task in self.images()}


class CalibrationError(MulticlassCalibrationError):
    """Expected calibration error, whatever the order in which confidences were counted.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int):
        super().__init__(num_classes, validate_args=num_classes > 1, sync_on_compute=False)

    def compute(self) -> Tensor:
        """From 0 to 1; float32 sums depend on their order."""
        confidences, order = dim_zero_cat(self.confidences).sort()
        self.confidences, self.accuracies = [confidences], [dim_zero_cat(self.accuracies)[order]]
        return super().compute()


class Information(Metric):
    """The information of predictions about images, without labels: (H(p̄) − mean H(p)) / log C.

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
        super().__init__(sync_on_compute=False)
        self.add_state("total", torch.zeros(num_classes, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("entropy", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("images", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, logits: Tensor) -> None:
        """Count a batch of logits, (B, C)."""
        known = logits.float().nan_to_num()  # an answer that is no number is as good as none
        probabilities = known.softmax(dim=-1)
        self.total += in_units(probabilities).sum(dim=0)
        self.entropy += in_units(torch.special.entr(probabilities).sum(dim=-1)).sum()
        self.images += len(logits)

    def compute(self) -> Tensor:
        """The information, from 0 to 1."""
        if len(self.total) == 1:
            return torch.tensor(0.0)
        of_mean = torch.special.entr(from_units(self.total) / self.images).sum()
        return (of_mean - self.mean_entropy()) / math.log(len(self.total))

    def mean_entropy(self) -> Tensor:
        """The mean entropy of the predictions, in nats."""
        return from_units(self.entropy) / self.images


class Agreement(Metric):
    """The share of images for which a model answers as the task's own expert does.

    Where the expert is right it is the accuracy, without a label.

    >>> half = Agreement()
    >>> half.update(torch.tensor([[0.0, 9.0], [0.0, 9.0]]), torch.tensor([1, 0]))
    >>> half.compute()
    tensor(0.5000, dtype=torch.float64)
    """

    alike: Tensor
    images: Tensor

    def __init__(self) -> None:
        super().__init__(sync_on_compute=False)
        self.add_state("alike", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("images", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, logits: Tensor, expert: Tensor) -> None:
        """Count a batch of logits, (B, C), beside the classes that the expert answers, (B,)."""
        self.alike += (logits.argmax(dim=-1) == expert).sum()
        self.images += len(expert)

    def compute(self) -> Tensor:
        """The share, from 0 to 1, in double precision as accuracies are."""
        return self.alike.cpu().double() / self.images.cpu()


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
        super().__init__(sync_on_compute=False)
        self.add_state("answers", torch.zeros(num_classes, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, logits: Tensor) -> None:
        """Count a batch of logits, (B, C)."""
        self.answers += logits.argmax(dim=-1).bincount(minlength=len(self.answers))

    def compute(self) -> Tensor:
        """The share of classes, from 1/C to 1."""
        return torch.tensor(spread(self.answers) / len(self.answers))


def spread(histogram: Tensor) -> float:
    """Return the number of classes that a histogram is spread over: exp(H).

    >>> spread(torch.tensor([5.0, 5.0, 0.0])), spread(torch.tensor([7.0, 0.0, 0.0]))
    (2.0, 1.0)
    """
    return torch.special.entr(histogram / histogram.sum()).sum().exp().item()


def in_units(values: Tensor) -> Tensor:
    """Numbers as whole multiples of `UNIT`, which add up to the same in any order.

    >>> in_units(torch.tensor([0.75, 1.0])).sum() == in_units(torch.tensor(1.75))
    tensor(True)
    """
    return (values / UNIT).long()


def from_units(total: Tensor) -> Tensor:
    """The number that is so many units, in single precision."""
    return total.float() * UNIT


def mean(values: Mapping[str, float]) -> float | None:
    """The mean of a mapping's values; None if it has none."""
    return sum(values.values()) / len(values) if values else None


def normalized_mean(accuracy: Mapping[str, float], individual: Mapping[str, float]) -> float | None:
    """Mean over tasks of accuracy ÷ that task's individual accuracy; None without experts.

    A task has no part in it if its own expert is never right, see `never_right`.

    >>> normalized_mean({"mnist": 0.9, "dtd": 0.6}, {"mnist": 0.9, "dtd": 0.8})
    0.875
    """
    ratios = {t: accuracy[t] / value for t, value in individual.items() if t in accuracy and value}
    return mean(ratios)


def never_right(individual: Mapping[str, float]) -> list[str]:
    """List the tasks whose own expert is never right: their accuracy cannot be normalised by it.

    >>> never_right({"mnist": 0.9, "dtd": 0.0})
    ['dtd']
    """
    return [task for task, value in individual.items() if not value]
