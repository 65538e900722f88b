"""Score a classifier's predictions, alone and next to those of the models it is compared with."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wemoe_pl.data.tasks import UNLABELLED
from wemoe_pl.merging.baselines import PerTaskEncoder
from wemoe_pl.model.classifier import MultiTaskClassifier, rules_of
from wemoe_pl.training.experts import ExpertAnswers
from wemoe_pl.training.gathering import gather_metrics
from wemoe_pl.training.metrics import TaskScores
from wemoe_pl.training.references import EXPERTS
from wemoe_pl.training.routing import RoutingStatistics, TaskRouting
from wemoe_pl.training.shown_metrics import SHOWN_METRICS
from wemoe_pl.training.unknown_task import UnknownTaskScores

SAMPLES = 4  # images of every task that are kept for pictures, each from a different batch


class Sample(NamedTuple):
    """A `Sample` is one scored image that people can look at.

    Attributes:
        image: the normalised image, (3, H, W).
        label: the name of the true class; None if it is unknown.
        predicted_class: the name of the class that the model predicted.
        probability: the probability that the model gave to that class.
        routing: the mean routing weight over blocks, by expert; empty without routers.
    """

    image: Tensor
    label: str | None
    predicted_class: str
    probability: float
    routing: dict[str, float]


class Evaluation:
    """An evaluation counts how a classifier answers the images of its tasks, and routes them.

    Args:
        classifier: the classifier that is scored.
        device: the device of the counts.
        experts: the experts' answers to compare with; None if there is no such comparison.

    Attributes:
        scores: the scores of the answers.
        routing: the routing of each task's images; empty before `gather`, and without routers.
    """

    def __init__(
        self,
        classifier: MultiTaskClassifier,
        device: torch.device,
        experts: ExpertAnswers | None = None,
    ):
        self.classifier = classifier
        self.experts = experts
        self.scores = TaskScores(classifier.num_classes, device)
        self.routing: dict[str, TaskRouting] = {}
        shape = blocks, _ = len(classifier.routed), len(classifier.experts)
        self._routing_statistics = {
            task: RoutingStatistics(*shape).to(device) for task in classifier.tasks if blocks
        }

    def update(self, task: str, images: Tensor, labels: Tensor) -> Tensor | None:
        """Score a batch of a task; do nothing if the classifier has no head for the task.

        Args:
            task: the task of all images.
            images: the images, (B, 3, H, W).
            labels: the labels, (B,).

        Returns:
            The features, (B, D), of the batch; None if it was not scored.
        """
        expert = self.experts.classes(task, images) if self.experts else None
        return self.score(task, images, labels, expert)

    def score(
        self, task: str, images: Tensor, labels: Tensor, expert: Tensor | None
    ) -> Tensor | None:
        """Score a batch like `update`, given the classes that the task's expert predicts, (B,)."""
        if task not in self.classifier.tasks:
            return None
        with self.classifier.recorded_routing():
            features = self.classifier.encode(images, task)
        self.scores.update(task, self.classifier.head(task)(features), labels, expert)
        if task in self._routing_statistics:
            self._routing_statistics[task].update(self.classifier.routing_weights)
        return features

    def gather(self) -> None:
        """Add up the counts of all processes; nothing may be counted after this."""
        self.scores.gather()
        if self.experts:
            self.experts.let_go()
        gather_metrics(self._routing_statistics.values())
        counted = {t: metric for t, metric in self._routing_statistics.items() if metric.samples}
        self.routing = {task: metric.compute() for task, metric in counted.items()}


class FinalEvaluation(Evaluation):
    """A final evaluation also scores the references and task inference, and keeps some images.

    Args:
        classifier: the classifier that is scored.
        references: the classifiers that it is compared with, by the name of their column.
        device: the device of the counts.

    Attributes:
        samples: some images of every task.
        reference_scores: the scores of each reference's answers, by the name of its column.
    """

    def __init__(
        self,
        classifier: MultiTaskClassifier,
        references: Mapping[str, MultiTaskClassifier],
        device: torch.device,
    ):
        super().__init__(classifier, device)
        self.references = references
        self.samples: dict[str, list[Sample]] = {}
        self.reference_scores = {
            name: TaskScores(reference.num_classes, device)
            for name, reference in references.items()
        }
        self._unknown_task = None
        if len(classifier.tasks) > 1 and not isinstance(classifier.encoder, PerTaskEncoder):
            self._unknown_task = UnknownTaskScores(
                classifier.tasks, classifier.experts, rules_of(classifier), device
            )

    def update(self, task: str, images: Tensor, labels: Tensor) -> Tensor | None:
        """Score a batch by the references and by the model, with its task given and inferred."""
        answers = {
            name: reference(images, task)
            for name, reference in self.references.items()
            if task in reference.tasks
        }
        expert = answers[EXPERTS].argmax(dim=-1) if EXPERTS in answers else None
        for name, logits in answers.items():
            self.reference_scores[name].update(task, logits, labels, expert)
        features = self.score(task, images, labels, expert)
        if features is None:
            return None
        weights = self.classifier.routing_weights
        if self._unknown_task:
            logits = {t: self.classifier.head(t)(features) for t in self.classifier.tasks}
            self._unknown_task.update(task, logits, labels, weights)
        samples = self.samples.setdefault(task, [])
        if len(samples) < SAMPLES:
            samples.append(self.first_sample(task, images, features, labels))
        return features

    def first_sample(self, task: str, images: Tensor, features: Tensor, labels: Tensor) -> Sample:
        """Make a sample of the first image of a batch that was just scored."""
        head, label = self.classifier.head(task), int(labels[0])
        probability, predicted = head(features)[0].float().softmax(dim=-1).max(dim=-1)
        weights = [block[0] for block in self.classifier.routing_weights]
        routing = torch.stack(weights).mean(dim=0).tolist() if weights else []
        return Sample(
            image=images[0].cpu(),
            label=None if label == UNLABELLED else head.classes[label],
            predicted_class=head.classes[int(predicted)],
            probability=float(probability),
            routing=dict(zip(self.classifier.experts, routing, strict=bool(routing))),
        )

    def gather(self) -> None:
        """Add up the counts of all processes, and free the references, each as large as a model."""
        super().gather()
        for scores in self.reference_scores.values():
            scores.gather()
        if self._unknown_task:
            self._unknown_task.gather()
        self.references = {}

    def results(self, own_reference: str | None) -> dict[str, Any]:
        """Return the figures for `results.json`.

        Args:
            own_reference: the column that this classifier fills itself; None if there is none.
        """
        compared = self.reference_scores | ({own_reference: self.scores} if own_reference else {})
        agreement = {name: scores.agreement() for name, scores in compared.items()}
        scored = {m.result: m.score(self.scores) for m in SHOWN_METRICS if m.score}
        return {
            **scored,
            "unknown_task": self._unknown_task.compute() if self._unknown_task else {},
            "images": self.scores.images(),
            "reference": {name: scores.accuracy() for name, scores in compared.items()},
            "reference_agreement": {name: shares for name, shares in agreement.items() if shares},
        }
