"""Adapt on an unannounced stream, where the model itself infers the task of every image."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import torch
from lightning import Trainer
from torch import Tensor

from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.model.classifier import MultiTaskClassifier
from wemoe_pl.model.multi_task_model import Encoded, MultiTaskModel
from wemoe_pl.model.task_inference import BEST_RULE, InferenceRule, infer_task
from wemoe_pl.training.objectives.base import Objective, check_batch_size, needs_of
from wemoe_pl.training.scoring import Logs, log_by_task


class Right(NamedTuple):
    """A `Right` holds the shares of images whose inferred task is the true one.

    Attributes:
        mean: the share of all images of a step.
        by_task: the share of each true task's images.
    """

    mean: Tensor
    by_task: dict[str, Tensor]


class Inferred(NamedTuple):
    """An `Inferred` groups the images of a step by their inferred tasks.

    Attributes:
        images: the images by inferred task, (B, 3, H, W), in the order of the step.
        encoded: the same images, encoded.
        right: the shares of images whose inferred task is the true one.
    """

    images: dict[str, Tensor]
    encoded: dict[str, Encoded]
    right: Right


class Adapting(Logs, Protocol):
    """`Adapting` is the part of a `TestTimeAdaptation` that an open stream needs; see there."""

    suite: Suite
    merge: MergeMethod
    classifier: MultiTaskClassifier
    objective: Objective
    announced: bool
    infer_task: InferenceRule | None

    @property
    def trainer(self) -> Trainer:
        """Return the trainer of the fit."""


def check_open_stream(module: Adapting, processes: int, batches: int) -> None:
    """Raise `ConfigError` if tasks are not announced and cannot be inferred.

    Args:
        module: the module that adapts, whose model need not be built.
        processes: the number of processes that share a step.
        batches: the number of batches that a step is split into.
    """
    if module.announced:
        return
    problem = ""
    if len(module.suite.experts) < 2:
        problem = f"the suite has one expert, for '{next(iter(module.suite.experts))}'"
    elif routes_batches(module):
        problem = "routing by batch is for images of one task (model.merge.routing)"
    elif module.merge.initial_images:
        problem = "routers are fitted to images of known tasks (model.merge.start_images)"
    elif "expert_shift" in needs_of(module.objective):
        problem = "experts are judged by images of known tasks (model.objective)"
    elif processes > 1:
        problem = f"{processes} devices share a step (trainer.devices)"
    elif batches > 1:
        problem = "a step is split by task (data.tasks_per_batch, trainer.accumulate_grad_batches)"
    if problem:
        raise ConfigError(
            "model.announced is false, which puts the images of all tasks of a step together, but "
            f"{problem}: change one of them."
        )


def routes_batches(module: Adapting) -> bool:
    """Return whether batches are routed as a whole: the model knows, or its merge method before."""
    is_built = hasattr(module, "classifier")
    return (module.classifier if is_built else module.merge).routes_batches


def rule_of(module: Adapting) -> InferenceRule:
    """Return the rule by which unannounced tasks are inferred."""
    return module.infer_task or BEST_RULE


def is_open(module: Adapting) -> bool:
    """Return whether a task may have any number of images in a step, perhaps none."""
    data = getattr(module.trainer, "datamodule", None)
    return not module.announced or getattr(data, "proportions", None) is not None


def open_step(
    module: Adapting, images: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Encoded] | None]:
    """Return the images of a step that can be learned from, by announced or inferred task.

    If they were encoded to infer their tasks, the second value has them encoded; otherwise it is
    None. The share of right tasks and the number of images that are left out are logged.

    Args:
        module: the module that adapts.
        images: the images by true task, (B, 3, H, W).
    """
    if not is_open(module):
        return dict(images), None
    encoded: dict[str, Encoded] | None = None
    if not module.announced:
        inferred = by_inferred_task(module.classifier, images, rule_of(module))
        log_by_task(module, "train/task_accuracy", inferred.right.mean, inferred.right.by_task)
        images, encoded = inferred.images, inferred.encoded
    kept = enough_for(module.objective, images)
    left_out = sum(len(own) for task, own in images.items() if task not in kept)
    module.log("train/left_out", float(left_out))
    return kept, encoded and {task: encoded[task] for task in kept}


def by_inferred_task(
    model: MultiTaskModel, images: Mapping[str, Tensor], rule: InferenceRule
) -> Inferred:
    """Put the images of a step together, encode them in one pass, and infer the task of each.

    Any task with an expert may be inferred. The true tasks are used only to compute the shares of
    right ones.

    Args:
        model: the model that is adapted, in its present state.
        images: the images by true task, (B, 3, H, W).
        rule: the rule by which tasks are inferred.
    """
    pooled = torch.cat(list(images.values()))
    encoded = model.encode_tasks({"": pooled}, with_routing=bool(model.routed))[""]
    places = inferred_places(model, encoded, rule)
    members = {task: (places == i).nonzero()[:, 0] for i, task in enumerate(model.experts)}
    members = {task: found for task, found in members.items() if len(found)}
    return Inferred(
        images={task: pooled[found] for task, found in members.items()},
        encoded={task: some_of(encoded, found) for task, found in members.items()},
        right=how_often_right(places, {task: len(own) for task, own in images.items()}, model),
    )


def how_often_right(places: Tensor, sizes: Mapping[str, int], model: MultiTaskModel) -> Right:
    """Return the shares of images whose inferred task is the true one.

    Args:
        places: the places of the inferred tasks among the experts, (B,).
        sizes: the number of images of each true task, one task after another.
        model: the model with the experts.
    """
    found = places.split(list(sizes.values()))
    right = {
        task: (own == model.experts.index(task)).float()
        for task, own in zip(sizes, found, strict=True)
    }
    return Right(
        torch.cat(list(right.values())).mean(), {t: own.mean() for t, own in right.items()}
    )


def inferred_places(model: MultiTaskModel, encoded: Encoded, rule: InferenceRule) -> Tensor:
    """Return the place of each image's inferred task among the experts, (B,)."""
    weights = encoded.routing_weights
    with torch.no_grad():
        logits = {task: model.head(task)(encoded.features) for task in model.experts}
        routing = [] if weights is None else list(weights.detach().unbind(dim=1))
        return infer_task(rule, logits, routing, model.experts).place


def some_of(encoded: Encoded, members: Tensor) -> Encoded:
    """Return the encoded images at the places `members`."""
    weights = encoded.routing_weights
    return Encoded(encoded.features[members], None if weights is None else weights[members])


def enough_for(objective: Objective, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out the tasks with fewer images than an objective can learn from.

    Args:
        objective: the objective that is minimised.
        images: the images by task, (B, 3, H, W).

    Raises:
        ConfigError: none would be left.
    """
    kept = {task: own for task, own in images.items() if len(own) >= objective.least_images}
    if not kept:
        check_batch_size(objective, max(len(own) for own in images.values()))
    return kept


def unannounced_note(module: object) -> str:
    """Return a note that a module has inferred the tasks of images, or an empty text."""
    if getattr(module, "announced", True):
        return ""
    rule = getattr(module, "infer_task", None) or BEST_RULE
    return f"No task was announced: the task of every image was inferred (by {rule})."
