"""Define the LightningModule that builds, scores and saves a multi-task classifier."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn

from wemoe_pl.data.streams import Batch
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.to_classify import NamedBatch
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.model.answering import Prediction
from wemoe_pl.model.classifier import MultiTaskClassifier
from wemoe_pl.model.named_answers import named_answers
from wemoe_pl.model.task_inference import InferenceRule
from wemoe_pl.runs.checkpoint import IDENTITY, read_checkpoint
from wemoe_pl.training.checkpoint_check import check_frozen, check_identity
from wemoe_pl.training.clock import StageClock
from wemoe_pl.training.evaluation import Evaluation, Sample
from wemoe_pl.training.lightning_noise import silence_lightning, summary_of
from wemoe_pl.training.metrics import TaskScores
from wemoe_pl.training.routing import TaskRouting
from wemoe_pl.training.scoring import Scoring


class MultiTaskModule(L.LightningModule):
    """A `MultiTaskModule` validates, tests and saves a classifier in the same way for every method.

    Sub-classes define how the classifier is built and trained. The routines here log `val/acc` and
    `test/acc`, also per task as `…/<task>`, and save only trained weights in checkpoints.

    Attributes:
        suite: the pretrained model, the experts, the heads and the tasks.
        seconds: the wall-clock time of each stage that was run.
        evaluation: the evaluation that is under way.
        scores: the scores of the answers when the tasks were last scored.
        routing: the routing of each task's images when they were last scored.
        samples: some images of every task, as the last test saw them.
        test_results: the figures of the last test, for `results.json`.
        needs_labels: True if all images that it learns from must have labels.
        initial_routing_weight: the one that adaptation begins with; None if there are several.
        learns_by_steps: True if every step of a fit changes the model.
        resumable: True if a fit can go on from a checkpoint that was saved before its end.
        infer_task: the rule by which `predict` infers tasks; None if it answers for all tasks.
    """

    classifier: MultiTaskClassifier
    evaluation: Evaluation
    scores: TaskScores
    needs_labels = False
    learns_by_steps = True
    initial_routing_weight: float | None = None
    resumable = True
    infer_task: InferenceRule | None = None

    def __init__(self, suite: Suite):
        super().__init__()
        silence_lightning()
        self.suite = suite
        self.clock, self.scoring = StageClock(), Scoring()
        self.seconds = self.clock.seconds
        self.routing: dict[str, TaskRouting] = {}
        self.samples: dict[str, list[Sample]] = {}
        self.test_results: dict[str, Any] = {}
        self.strict_loading = False  # a checkpoint lacks what is frozen; see on_load_checkpoint

    @property
    @abstractmethod
    def method(self) -> str:
        """Return the name of the method in results and tables."""

    @abstractmethod
    def build(self) -> MultiTaskClassifier:
        """Build the classifier; only the parameters that are to be trained require gradients."""

    @property
    def recipe(self) -> dict[str, Any]:
        """Return the recipe that rebuilds the model of a checkpoint; {} if it cannot be rebuilt."""
        return {}

    @property
    def references(self) -> Mapping[str, MergeMethod]:
        """Return the methods that the test compares with, by the name of their column."""
        return {}

    def build_references(self) -> dict[str, MultiTaskClassifier]:
        """Build the models that the test compares with, by the name of their column."""
        return {}

    @property
    def own_reference(self) -> str | None:
        """Return the reference that equals this method and is not scored twice; None if none."""
        return None

    def export(self, out: Path, recipe: Mapping[str, Any], seed: int) -> None:
        """Write weights that other programs can read, if a fit of this kind makes any.

        Args:
            out: the run's folder.
            recipe: the resolved config.
            seed: the seed of the run.
        """

    def configure_callbacks(self) -> list[L.Callback]:
        """Return the callbacks that measure and score, unless the trainer has them already."""
        known: list[L.Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        own: list[L.Callback] = [self.clock, self.scoring]
        return [c for c in own if c not in known] + summary_of(self.trainer)

    def configure_model(self) -> None:
        """Build the classifier once, under Lightning's device and precision."""
        if not hasattr(self, "classifier"):
            with self.clock.timed("build"):
                self.classifier = self.build()
                _ = self.frozen_sources  # hashes files, and warns of equal ones before the work
            self._ddp_params_and_buffers_to_ignore = frozen_names(self)

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Score one batch of one task."""
        for task, (images, labels) in batch.items():
            self.evaluation.update(task, images, labels)

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Score one batch of one task, by this model and by every reference."""
        self.validation_step(batch, batch_idx)

    @property
    def predict_tasks(self) -> Sequence[str]:
        """Return the tasks that `predict` answers: all that have a head."""
        return self.classifier.tasks

    def predict_step(self, batch: NamedBatch, batch_idx: int) -> list[Prediction]:
        """Classify unlabelled images by the heads of `predict_tasks`: a row per image and task.

        With `infer_task`, there is one row per image, by the head of the task that the model
        infers. An image that cannot be read has a row that says why.
        """
        return named_answers(self.classifier, batch, self.predict_tasks, self.infer_task)

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """Return the parameters that require gradients, by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep only the trained weights, and record which frozen files they belong to."""
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: state[name] for name in self.trained_parameters()}
        checkpoint[IDENTITY] = {**self.identity, "seconds": self.clock.elapsed}

    def check_frozen(self, checkpoint: Path | None) -> None:
        """Refuse, before building, to go on from a checkpoint with another frozen part."""
        if checkpoint is not None:
            check_frozen(read_checkpoint(checkpoint), self.identity)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint that was trained with other frozen files, or for another model."""
        check_identity(checkpoint, self.identity, self.trained_parameters())
        if is_fitting(self):
            self.clock.resume(checkpoint[IDENTITY].get("seconds", 0.0))

    @property
    def identity(self) -> dict[str, Any]:
        """Return the identity of the model that a checkpoint belongs to."""
        return {"method": self.method, "sources": self.frozen_sources, "recipe": self.recipe}

    @property
    def frozen_suite(self) -> Suite | None:
        """Return the part of the suite whose files the job reads; None if it reads none."""
        return self.suite

    @cached_property
    def frozen_sources(self) -> dict[str, dict[str, str]]:
        """Return the sources of the frozen parts, with their hashes."""
        return self.frozen_suite.sources() if self.frozen_suite else {}


def is_fitting(module: L.LightningModule) -> bool:
    """Return whether a module is in a fit (and is not just being loaded or scored)."""
    trainer: L.Trainer | None = module._trainer  # `trainer` raises where there is none
    return trainer is not None and trainer.state.fn == TrainerFn.FITTING


def frozen_names(module: nn.Module) -> list[str]:
    """Return the names of the tensors that every process has read from the same files.

    Lightning and PyTorch look for them in the attribute that `configure_model` sets. Without them,
    every step would send the dictionaries of task vectors to all processes.
    """
    tensors = chain(module.named_parameters(), module.named_buffers())
    return [name for name, tensor in tensors if not tensor.requires_grad]
