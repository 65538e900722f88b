"""Count the metrics of a task's predictions, with labels and without."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassCalibrationError, MulticlassConfusionMatrix
from torchmetrics.utilities import dim_zero_cat

from wemoe_pl.data.tasks import UNLABELLED
from wemoe_pl.training.gathering import gather_metrics

UNIT = 2.0**-40  # numbers are added up in whole multiples of it, so that order does not matter


class TaskScores:
    """`TaskScores` counts, per task, how often the predictions are right and how they spread.

    The figures come from whole numbers, or from sorted ones, so they are the same to the bit
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
            # A single class is counted correctly, but torchmetrics' own checks refuse it.
            t: MulticlassConfusionMatrix(n, validate_args=n > 1, sync_on_compute=False).to(device)
            for t, n in sizes
        }

    def update(
        self, task: str, logits: Tensor, labels: Tensor, expert: Tensor | None = None
    ) -> None:
        """Count a batch of a task, labelled or not.

        Args:
            task: the task of all images.
            logits: the logits of the task's head, (B, C).
            labels: the labels, (B,).
            expert: the classes that the task's own expert predicts, (B,), if they are known.
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
        """Add up the counts of all processes; nothing may be counted after this."""
        counted = (self._calibration, self._information, self._diversity, self._confusion)
        for metrics in (*counted, self._agreement):
            gather_metrics(metrics.values())

    def images(self) -> dict[str, int]:
        """Return the number of labelled images that were counted, for the tasks that have any."""
        totals = {task: int(metric.confmat.sum()) for task, metric in self._confusion.items()}
        return {task: total for task, total in totals.items() if total}

    def accuracy(self) -> dict[str, float]:
        """Return the accuracy, 0 to 1, of the tasks with labels."""
        right = {task: int(counts.diagonal().sum()) for task, counts in self.confusion().items()}
        return {task: right[task] / total for task, total in self.images().items()}

    def calibration_error(self) -> dict[str, float]:
        """Return the expected calibration error (15 bins), 0 to 1, of the tasks with labels."""
        return {task: self._calibration[task].compute().item() for task in self.images()}

    def information(self) -> dict[str, float]:
        """Return the `Information` of each task, which needs no labels."""
        return {t: m.compute().item() for t, m in self._information.items() if m.images}

    def entropy(self) -> dict[str, float]:
        """Return the mean entropy of each task's predictions in nats, which needs no labels."""
        return {t: m.mean_entropy().item() for t, m in self._information.items() if m.images}

    def agreement(self) -> dict[str, float]:
        """Return the `Agreement` of the tasks whose expert was asked, which needs no labels."""
        return {t: m.compute().item() for t, m in self._agreement.items() if m.images}

    def diversity(self) -> dict[str, float]:
        """Return the `Diversity` of each task, which needs no labels."""
        return {t: m.compute().item() for t, m in self._diversity.items() if m.answers.any()}

    def confusion(self) -> dict[str, Tensor]:
        """Return the confusion matrices, (C, C) with true classes in rows, of tasks with labels."""
        return {task: self._confusion[task].confmat.cpu() for task in self.images()}


class CalibrationError(MulticlassCalibrationError):
    """The metric is the expected calibration error, independent of the order of the images.

    Args:
        num_classes: the number of classes, C.
    """

    def __init__(self, num_classes: int):
        super().__init__(num_classes, validate_args=num_classes > 1, sync_on_compute=False)

    def compute(self) -> Tensor:
        """Return the error, 0 to 1, of sorted confidences: float32 sums depend on their order."""
        confidences, order = dim_zero_cat(self.confidences).sort()
        self.confidences, self.accuracies = [confidences], [dim_zero_cat(self.accuracies)[order]]
        return super().compute()


class Information(Metric):
    """The metric is the information of predictions about images: (H(p̄) − mean H(p)) / log C.

    It is the mutual information of image and predicted class, and needs no labels. It is 1 when
    every prediction is certain and all classes are predicted equally often, and 0 when all images
    get the same answer.

    Args:
        num_classes: the number of classes, C.

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
        known = logits.float().nan_to_num()  # NaN cannot be counted in whole units
        probabilities = known.softmax(dim=-1)
        self.total += in_units(probabilities).sum(dim=0)
        self.entropy += in_units(torch.special.entr(probabilities).sum(dim=-1)).sum()
        self.images += len(logits)

    def compute(self) -> Tensor:
        """Return the information, from 0 to 1."""
        if len(self.total) == 1:
            return torch.tensor(0.0)
        of_mean = torch.special.entr(from_units(self.total) / self.images).sum()
        return (of_mean - self.mean_entropy()) / math.log(len(self.total))

    def mean_entropy(self) -> Tensor:
        """Return the mean entropy of the predictions, in nats."""
        return from_units(self.entropy) / self.images


class Agreement(Metric):
    """The metric is the share of images for which a model predicts the class of the task's expert.

    On images for which the expert is right, it is the accuracy, but needs no label.

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
        """Count a batch of logits, (B, C), given the classes that the expert predicts, (B,)."""
        self.alike += (logits.argmax(dim=-1) == expert).sum()
        self.images += len(expert)

    def compute(self) -> Tensor:
        """Return the share, from 0 to 1, in double precision as accuracies are."""
        return self.alike.cpu().double() / self.images.cpu()


class Diversity(Metric):
    """The metric is the share of classes that a task's predictions spread over: exp(H) / C.

    H is the entropy of the histogram of predicted classes. The share is 1 when all classes are
    predicted equally often, and 1/C when all images get the same answer.

    Args:
        num_classes: the number of classes, C.

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
        """Return the share of classes, from 1/C to 1."""
        return torch.tensor(spread(self.answers) / len(self.answers))


def spread(histogram: Tensor) -> float:
    """Return the number of classes that a histogram spreads over: exp(H), H being its entropy.

    >>> spread(torch.tensor([5.0, 5.0, 0.0])), spread(torch.tensor([7.0, 0.0, 0.0]))
    (2.0, 1.0)
    """
    return torch.special.entr(histogram / histogram.sum()).sum().exp().item()


def in_units(values: Tensor) -> Tensor:
    """Return numbers as whole multiples of `UNIT`, whose sum is the same in any order.

    >>> in_units(torch.tensor([0.75, 1.0])).sum() == in_units(torch.tensor(1.75))
    tensor(True)
    """
    return (values / UNIT).long()


def from_units(total: Tensor) -> Tensor:
    """Return the number that is `total` times `UNIT`, in single precision."""
    return total.float() * UNIT


def mean(values: Mapping[str, float]) -> float | None:
    """Return the mean of a mapping's values; None if it is empty."""
    return sum(values.values()) / len(values) if values else None


def normalized_mean(accuracy: Mapping[str, float], individual: Mapping[str, float]) -> float | None:
    """Return the mean over tasks of accuracy ÷ the own expert's accuracy; None without experts.

    A task is left out if its own expert is never right: see `never_right`.

    >>> normalized_mean({"mnist": 0.9, "dtd": 0.6}, {"mnist": 0.9, "dtd": 0.8})
    0.875
    """
    ratios = {t: accuracy[t] / value for t, value in individual.items() if t in accuracy and value}
    return mean(ratios)


def never_right(individual: Mapping[str, float]) -> list[str]:
    """Return the tasks whose own expert is never right, so that it cannot normalise an accuracy.

    >>> never_right({"mnist": 0.9, "dtd": 0.0})
    ['dtd']
    """
    return [task for task, value in individual.items() if not value]
