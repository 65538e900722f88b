"""The scores of a classifier's predictions, alone and beside those that it is compared with."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wemoe_pl.data.tasks import UNLABELLED
from wemoe_pl.merging import PerTaskEncoder
from wemoe_pl.model.classifier import MultiTaskClassifier, rules_of
from wemoe_pl.training.experts import ExpertAnswers
from wemoe_pl.training.gathering import gather_metrics
from wemoe_pl.training.metrics import TaskScores
from wemoe_pl.training.references import EXPERTS
from wemoe_pl.training.routing import RoutingStatistics, TaskRouting
from wemoe_pl.training.shown_metrics import SHOWN_METRICS
from wemoe_pl.training.unknown_task import UnknownTaskScores

SAMPLES = 4  # images of every task that are kept to look at, each of another batch


class Sample(NamedTuple):
    """One scored image, to look at.

    Attributes:
        image: normalised, (3, H, W).
        label: its class, if it is known.
        predicted_class: what the model took it for.
        probability: which it gave to that class.
        routing: by expert, the mean routing weight over blocks; empty without routers.
    """

    image: Tensor
    label: str | None
    predicted_class: str
    probability: float
    routing: dict[str, float]


class Evaluation:
    """Counts how a classifier answers the images of its tasks, and how it routes them.

    Args:
        classifier: what is scored.
        device: where it is counted.
        experts: with whose answers these are compared, if they are asked.

    Attributes:
        scores: how good the answers are.
        routing: how each task's images are routed; empty before `gather`, and without routers.
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
        """Score a batch of a task, unless only experts answer and it has none.

        Args:
            task: of all images.
            images: (B, 3, H, W).
            labels: (B,).

        Returns:
            The features, (B, D), of a batch that was scored.
        """
        expert = self.experts.classes(task, images) if self.experts else None
        return self.score(task, images, labels, expert)

    def score(
        self, task: str, images: Tensor, labels: Tensor, expert: Tensor | None
    ) -> Tensor | None:
        """Do what `update` does, given the classes that the task's expert answers, (B,)."""
        if task not in self.classifier.tasks:
            return None
        with self.classifier.recorded_routing():
            features = self.classifier.encode(images, task)
        self.scores.update(task, self.classifier.head(task)(features), labels, expert)
        if task in self._routing_statistics:
            self._routing_statistics[task].update(self.classifier.routing_weights)
        return features

    def gather(self) -> None:
        """Bring together what all processes have counted; nothing is added after this."""
        self.scores.gather()
        if self.experts:
            self.experts.let_go()
        gather_metrics(self._routing_statistics.values())
        counted = {t: metric for t, metric in self._routing_statistics.items() if metric.samples}
        self.routing = {task: metric.compute() for task, metric in counted.items()}


class FinalEvaluation(Evaluation):
    """Also scores references, lets the model find the tasks itself, and keeps images to look at.

    Args:
        classifier: what is scored.
        references: what it is compared with, by the name of its column.
        device: where it is counted.

    Attributes:
        samples: some images of every task.
        reference_scores: how good the answers of each reference are.
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
        """Score a batch of a task by this model, with the task and without, and by references."""
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
        """Bring together all counts, and let go of references, which may be as large as models."""
        super().gather()
        for scores in self.reference_scores.values():
            scores.gather()
        if self._unknown_task:
            self._unknown_task.gather()
        self.references = {}

    def results(self, own_reference: str | None) -> dict[str, Any]:
        """The figures for `results.json`.

        Args:
            own_reference: the column that the classifier is itself, if it is one.
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
