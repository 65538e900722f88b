"""Describe a model to the process that receives requests, which does not hold the model itself."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from wemoe_pl.checkpoints import Backbone
from wemoe_pl.data.preprocessing import Preprocessing
from wemoe_pl.errors import ConfigError, did_you_mean
from wemoe_pl.model.classifier import MultiTaskClassifier, hindrance, merged_in_words
from wemoe_pl.model.task_inference import BEST_RULE
from wemoe_pl.system.provenance import versions

NO_ROUTERS = "This model has no routers: its weights are the same for every image."
NO_THRESHOLDS = (
    "The model cannot say that an image belongs to none of the tasks: it has no thresholds, which "
    "a run gets when it is scored."
)
ONE_BY_ONE = (
    "The answer of this model depends on the other images of a batch, so every image is a batch of "
    "its own."
)


@dataclass(frozen=True)
class ModelDescription:
    """A model's description says what may be asked of it, and how images are prepared for it.

    Attributes:
        classes: the classes of each task, in label order.
        backbone: the architecture of the encoder.
        merged: the way in which the experts are merged, in words.
        experts: the merged experts.
        parameters: the number of parameters of the encoder.
        routed: True if images are routed, so that there are routing weights to be asked for.
        cannot_infer: the reason why a task cannot be inferred; empty if it can.
        can_reject: True if an image can be found to belong to none of the tasks.
        one_by_one: True if the answer for an image depends on the rest of its batch.
    """

    classes: dict[str, tuple[str, ...]]
    backbone: Backbone
    merged: str
    experts: tuple[str, ...]
    parameters: int
    routed: bool
    cannot_infer: str
    can_reject: bool
    one_by_one: bool

    @cached_property
    def preprocess(self) -> Preprocessing:
        """Return the transform of an image into the input of the encoder."""
        return Preprocessing(self.backbone)

    @property
    def only_task(self) -> str | None:
        """Return the task of a model that has a single one, so that nobody need name it."""
        return next(iter(self.classes)) if len(self.classes) == 1 else None

    def check(self, task: str | None, reject: bool | None, routing: bool) -> None:
        """Raise `ConfigError` if the model cannot answer a request with these options."""
        if task is not None and task not in self.classes:
            raise ConfigError(f"There is no task '{task}'. {did_you_mean(task, self.classes)}")
        if task is None and self.only_task is None and self.cannot_infer:
            raise ConfigError(self.cannot_infer)
        if routing and not self.routed:
            raise ConfigError(NO_ROUTERS)
        if reject and not self.can_reject:
            raise ConfigError(NO_THRESHOLDS)

    @property
    def notes(self) -> list[str]:
        """Return sentences on what somebody who starts a server should know of the model."""
        several = self.only_task is None
        return [
            *([self.cannot_infer] if several and self.cannot_infer else []),
            *([NO_THRESHOLDS] if several and not self.cannot_infer and not self.can_reject else []),
            *([ONE_BY_ONE] if self.one_by_one else []),
        ]

    @property
    def public(self) -> dict[str, Any]:
        """Return what anybody may know who can reach the server, as JSON."""
        return {
            "tasks": self.classes,
            "backbone": self.backbone.model,
            "merged": self.merged,
            "experts": self.experts,
            "parameters": self.parameters,
            "routed": self.routed,
            "infers_tasks": not self.cannot_infer and self.only_task is None,
            "rejects": self.can_reject,
            "notes": self.notes,
            "versions": versions(),
        }


def described_model(model: MultiTaskClassifier) -> ModelDescription:
    """Return the description of a model."""
    return ModelDescription(
        classes={task: tuple(model.head(task).classes) for task in model.tasks},
        backbone=model.backbone,
        merged=merged_in_words(model),
        experts=model.experts,
        parameters=sum(weight.numel() for weight in model.encoder.parameters()),
        routed=bool(model.routed),
        cannot_infer=hindrance(model, BEST_RULE),
        can_reject=BEST_RULE in model.thresholds,
        one_by_one=model.routes_batches,
    )
