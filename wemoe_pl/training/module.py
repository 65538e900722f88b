"""Score tasks: accuracy and calibration per task, beside the references."""

import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from wemoe_pl.checkpoints import first_difference, shapes_of
from wemoe_pl.data.streams import Batch
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import UNLABELLED
from wemoe_pl.data.to_classify import NamedBatch
from wemoe_pl.errors import CheckpointError, ConfigError
from wemoe_pl.merging import PerTaskEncoder
from wemoe_pl.model.classifier import MultiTaskClassifier, Prediction
from wemoe_pl.model.task_inference import Rule, has_entropies
from wemoe_pl.runs.checkpoint import IDENTITY, check_sources, frozen_choices
from wemoe_pl.training.metrics import TaskScores, gather, mean
from wemoe_pl.training.routing import Routing, RoutingStatistics
from wemoe_pl.training.unknown_task import UnknownTaskScores

SAMPLES = 4  # images of every task that are kept to look at, each of another batch


class Answer(NamedTuple):
    """A row that `predict` writes.

    Attributes:
        image: its path, or its row.
        task: told or inferred.
        class_name: the most probable class of the task.
        probability: of this class.
        task_confidence: from 0 to 1; None if the task was told.
        error: why there is no answer, to an image that cannot be read.
    """

    image: str
    task: str | None = None
    class_name: str | None = None
    probability: float | None = None
    task_confidence: float | None = None
    error: str | None = None


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


class ScoredModule(L.LightningModule):
    """A `MultiTaskClassifier` that is validated, tested and used to predict in one way.

    Sub-classes say how the classifier is built and trained. The routines here log `val/acc` and
    `test/acc`, each with `/<task>` behind it, and keep checkpoints down to what was trained.

    Attributes:
        suite: what was given.
        seconds: wall-clock time of the stages that were run.
        routing: how each task's images were routed when they were last scored.
        samples: some images of every task, as the last test saw them.
        test_results: the figures of the last test, for `results.json`.
        needs_labels: must all images that it learns from have labels?
        resumable: can a fit go on from a checkpoint that was saved before its end?
    """

    classifier: MultiTaskClassifier
    needs_labels = False
    resumable = True

    def __init__(self, suite: Suite):
        super().__init__()
        self.suite = suite
        self.seconds: dict[str, float] = {}
        self.test_results: dict[str, Any] = {}
        self.routing: dict[str, Routing] = {}
        self.samples: dict[str, list[Sample]] = {}
        self.references: dict[str, MultiTaskClassifier] = {}
        self.strict_loading = False  # a checkpoint lacks what is frozen; see on_load_checkpoint

    # What sub-classes say

    @property
    @abstractmethod
    def method(self) -> str:
        """The name of the method in results and tables."""

    @abstractmethod
    def build(self) -> MultiTaskClassifier:
        """Make the classifier, of which only what is to be trained requires gradients."""

    @property
    def recipe(self) -> dict[str, Any]:
        """What a checkpoint says for the model to be rebuilt from it alone; {} if it cannot be."""
        return {}

    def build_references(self) -> dict[str, MultiTaskClassifier]:
        """What the test compares with, by the name of its column."""
        return {}

    @property
    def own_reference(self) -> str | None:
        """The reference that this method is itself, and that is not scored twice."""
        return None

    # Building

    def configure_model(self) -> None:
        """Build the classifier once, under Lightning's device and precision."""
        if hasattr(self, "classifier"):
            return
        with self.timed("build"):
            self.classifier = self.build()
            _ = self.frozen_sources  # hashes the files, and warns of twins before the work
        self._ddp_params_and_buffers_to_ignore = self.frozen_names

    @property
    def frozen_names(self) -> list[str]:
        """What every process has read from the same files, and need not be sent to it.

        Lightning and PyTorch look for it under the name that `configure_model` gives it; without
        it, every step would send the dictionaries of task vectors around.
        """
        tensors = chain(self.named_parameters(), self.named_buffers())
        return [name for name, tensor in tensors if not tensor.requires_grad]

    @property
    def total_steps(self) -> int:
        """How many optimiser steps the run has; learning rates are annealed over them."""
        if self.trainer.max_steps < 1:
            raise ConfigError("Give the number of steps: trainer.max_steps, from 1.")
        return self.trainer.max_steps

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the wall-clock time of a block to `seconds[stage]`."""
        started = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started

    def setup(self, stage: str) -> None:
        """Look at the clock; a stage that builds the classifier counts the building too."""
        self._started = time.perf_counter()
        self._seconds_before = 0.0

    def teardown(self, stage: str) -> None:
        """Note how long the stage took."""
        self.seconds[TrainerFn(stage).value] = self.seconds_of_stage

    @property
    def seconds_of_stage(self) -> float:
        """Since it began, in an interrupted run that this one goes on from if there is one."""
        return self._seconds_before + time.perf_counter() - self._started

    def export(self, out: Path, recipe: Mapping[str, Any], seed: int) -> None:
        """Leave weights that others can read, if a fit of this kind makes any.

        Args:
            out: the run's folder.
            recipe: the resolved config.
            seed: of the run.
        """

    def whole(self, shares: dict[str, Tensor]) -> dict[str, Tensor]:
        """What all processes have of a batch, in the order in which one alone would have it.

        A loss of it is the same in every process, and its gradients find their way back: averaged
        over processes, as Lightning does, they are those of one process.

        Args:
            shares: what this process has, by task, (B ÷ processes, …).

        Returns:
            The same of all, (B, …).
        """
        if self.trainer.world_size == 1:
            return shares
        gather_all = self.trainer.strategy.all_gather
        gathered = {task: gather_all(share, sync_grads=True) for task, share in shares.items()}
        return {task: values.flatten(0, 1) for task, values in gathered.items()}

    # Scoring

    def on_validation_epoch_start(self) -> None:
        """Start to count."""
        self.start_counting()

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Score one batch of one task, unless only experts answer and it has none."""
        for task, (images, labels) in batch.items():
            if task in self.classifier.tasks:
                self.count(task, self.classifier(images, task), labels)

    def on_validation_epoch_end(self) -> None:
        """Log `val/acc`, and what needs no labels, each with `/<task>` behind it."""
        self.stop_counting()
        self.log_scores("val", self.scores)

    def start_counting(self) -> None:
        """New counts of what is predicted and of how it is routed."""
        self.scores = TaskScores(self.classifier.num_classes, self.device)
        mixtures, experts = self.classifier.mixtures, self.suite.experts
        self.routing_statistics = {
            task: RoutingStatistics(len(mixtures), len(experts)).to(self.device)
            for task in self.classifier.tasks
            if mixtures
        }
        self.record_routing(True)

    def count(self, task: str, logits: Tensor, labels: Tensor) -> None:
        """Add a batch of a task that the classifier has just answered."""
        self.scores.update(task, logits, labels)
        if task in self.routing_statistics:
            self.routing_statistics[task].update(self.classifier.routing_weights)

    def stop_counting(self) -> None:
        """Bring together what all processes have counted, and keep how images were routed."""
        self.scores.gather()
        gather(self.routing_statistics.values())
        seen = {task: m for task, m in self.routing_statistics.items() if m.samples}
        self.routing = {task: metric.compute() for task, metric in seen.items()}
        self.record_routing(False)

    def on_test_start(self) -> None:
        """Build what the test compares with, and start to record routing weights."""
        with self.timed("build"):
            self.references = {
                name: reference.to(next(self.classifier.parameters()))
                for name, reference in self.build_references().items()
            }
        self.start_counting()
        self.reference_scores = {
            name: TaskScores(reference.num_classes, self.device)
            for name, reference in self.references.items()
        }
        self.samples = {}
        tasks = self.classifier.tasks
        experts = list(self.suite.experts) if self.classifier.mixtures else []
        self.unknown_task: UnknownTaskScores | None = None
        if len(tasks) > 1 and not isinstance(self.classifier.encoder, PerTaskEncoder):
            by_entropy = has_entropies(self.classifier.num_classes)
            self.unknown_task = UnknownTaskScores(tasks, experts, self.device, by_entropy)

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Score one batch of one task, by this model and by every reference."""
        for task, (images, labels) in batch.items():
            if task in self.classifier.tasks:
                logits = self.score(task, images, labels)
                if batch_idx < SAMPLES:
                    self.keep_sample(task, images[0], logits[0], int(labels[0]))
            for name, reference in self.references.items():
                if task in reference.tasks:
                    self.reference_scores[name].update(task, reference(images, task), labels)

    def score(self, task: str, images: Tensor, labels: Tensor) -> Tensor:
        """Score one batch of one task by this model, with the task told and without.

        Returns:
            The logits with the task told, (B, C).
        """
        features = self.classifier.encode(images, task)
        told = self.classifier.head(task)(features)
        self.count(task, told, labels)
        if self.unknown_task is not None:
            logits = {t: self.classifier.head(t)(features) for t in self.classifier.tasks}
            self.unknown_task.update(task, logits, labels, self.classifier.routing_weights)
        return told

    def keep_sample(self, task: str, image: Tensor, logits: Tensor, label: int) -> None:
        """Keep the first image of a batch that was just scored."""
        classes = self.classifier.head(task).classes
        probability, predicted = logits.float().softmax(dim=-1).max(dim=-1)
        per_block = [weights[0] for weights in self.classifier.routing_weights]
        mean_weights = torch.stack(per_block).mean(dim=0).tolist() if per_block else []
        sample = Sample(
            image=image.cpu(),
            label=None if label == UNLABELLED else classes[label],
            predicted_class=classes[int(predicted)],
            probability=float(probability),
            routing=dict(zip(self.suite.experts, mean_weights, strict=bool(mean_weights))),
        )
        self.samples.setdefault(task, []).append(sample)

    def record_routing(self, record: bool) -> None:
        """Let every mixture keep the routing weights of its last batch, or not."""
        for mixture in self.classifier.mixtures:
            mixture.record_routing = record

    def on_test_epoch_end(self) -> None:
        """Log `test/acc`, `test/information` and `routing/<task>`, and keep all figures."""
        self.stop_counting()
        for scores in self.reference_scores.values():
            scores.gather()
        if self.unknown_task is not None:
            self.unknown_task.gather()
        accuracy = self.scores.accuracy()
        self.log_scores("test", self.scores)
        for column, task in enumerate(self.suite.experts):
            if task in self.routing:
                self.log(f"routing/{task}", self.routing[task].mean[:, column].mean())
        reference = {n: scores.accuracy() for n, scores in self.reference_scores.items()}
        if self.own_reference:
            reference[self.own_reference] = accuracy
        self.test_results = {
            "accuracy": accuracy,
            "calibration_error": self.scores.calibration_error(),
            "information": self.scores.information(),
            "diversity": self.scores.diversity(),
            "unknown_task": self.unknown_task.compute() if self.unknown_task else {},
            "images": self.scores.images(),
            "reference": reference,
        }

    def on_test_end(self) -> None:
        """Let go of the references, which may be as large as ten models."""
        self.references = {}

    def predict_step(self, batch: NamedBatch, batch_idx: int) -> list[Answer]:
        """Classify unlabelled images by the heads of `predict_tasks`: a row per image and task.

        With `infer_task_by`, a row per image, by the head of the task that the model infers. An
        image that cannot be read has a row that says why.
        """
        predictions: Iterator[list[Prediction]] = iter(())
        if len(batch.images):
            classifier, tasks = self.classifier, self.predict_tasks
            predictions = iter(classifier.answer(batch.images, tasks, self.infer_task_by))
        rows = []
        for name, error in zip(batch.names, batch.errors, strict=True):
            if error is not None:
                rows.append(Answer(name, error=error))
                continue
            rows += [
                Answer(name, each.task, each.class_name, each.probability, each.task_confidence)
                for each in next(predictions)
            ]
        return rows

    @property
    def infer_task_by(self) -> Rule | None:
        """How `predict` finds out the task of an image; None if it is told, or answers for all."""
        return None

    @property
    def predict_tasks(self) -> Sequence[str]:
        """The tasks that `predict` answers: all that have a head."""
        return self.classifier.tasks

    def log_scores(self, stage: Literal["val", "test"], scores: TaskScores) -> None:
        """Log accuracy of the tasks with labels, and of all what needs none, with their means."""
        logged = {
            "acc": scores.accuracy(),
            "information": scores.information(),
            "diversity": scores.diversity(),
        }
        for name, values in logged.items():
            average = mean(values)
            if average is not None:
                self.log_dict({f"{stage}/{name}/{task}": value for task, value in values.items()})
                self.log(f"{stage}/{name}", average, prog_bar=name == "acc")

    # Checkpoints

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """What requires gradients, by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep only what was trained, and say which frozen files it belongs to."""
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: state[name] for name in self.trained_parameters()}
        checkpoint[IDENTITY] = {
            "method": self.method,
            "sources": self.frozen_sources,
            "recipe": self.recipe,
            "seconds": self.seconds_of_stage,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint that was trained with other frozen files, or for another model."""
        identity = checkpoint.get(IDENTITY)
        if identity is None:
            raise CheckpointError("This checkpoint was not written by wemoe-pl.")
        check_sources(identity["sources"], self.frozen_sources, "The checkpoint")
        trained = self.trained_parameters()
        if difference := first_difference(shapes_of(checkpoint["state_dict"]), shapes_of(trained)):
            raise CheckpointError(
                f"The checkpoint, of method {identity['method']}, does not fit {self.method} as "
                f"configured: {difference}. Use the config that it was made with."
            )
        for part, then in frozen_choices(identity["recipe"]).items():
            if (now := frozen_choices(self.recipe)[part]) != then:
                raise CheckpointError(
                    f"The checkpoint was trained with another {part}: it was {then} and is now "
                    f"{now}. Use the config that it was made with."
                )
        if self.trainer.state.fn == TrainerFn.FITTING:
            self._seconds_before = identity.get("seconds", 0.0)

    @property
    def frozen_suite(self) -> Suite | None:
        """The part of the suite whose files the job reads; None if it reads none."""
        return self.suite

    @cached_property
    def frozen_sources(self) -> dict[str, dict[str, str]]:
        """Where the frozen parts come from, with their hashes."""
        return self.frozen_suite.sources() if self.frozen_suite else {}


def checked_learning_rate(learning_rate: float) -> float:
    """`learning_rate`, or a `ConfigError` unless it is above 0."""
    if not learning_rate > 0:
        raise ConfigError(f"learning_rate is {learning_rate}: give a number above 0.")
    return learning_rate


def stepwise(optimizer: Optimizer, scheduler: LRScheduler) -> OptimizerLRSchedulerConfig:
    """What Lightning wants to hear for a learning rate that changes with every step."""
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
