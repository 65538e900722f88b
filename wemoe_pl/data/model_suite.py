"""Define a suite whose models are in memory: encoders of timm, as a program has built them."""

import hashlib
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from wemoe_pl.checkpoints import (
    IN_MEMORY,
    Backbone,
    LazyState,
    State,
    backbone_of,
    shapes_of,
    without_head,
)
from wemoe_pl.checkpoints.heads import ClassificationHead, LinearHead
from wemoe_pl.data.head_checks import check_classes_of_head, check_width
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import VisionTask
from wemoe_pl.errors import ConfigError, did_you_mean

PRETRAINED = "pretrained"
OF_MODELS = {"plain": False}
Heads = Mapping[str, ClassificationHead | nn.Linear]


@dataclass(frozen=True)
class ModelSuite(Suite):
    """A `ModelSuite` is a suite whose encoders and heads are in memory; `ModelSuite.of` makes it.

    Args:
        models: the experts by task, and the encoder that they were fine-tuned from, "pretrained".
        own_heads: the head of every task.
    """

    models: Mapping[str, nn.Module] = field(
        default_factory=dict, repr=False, compare=False, metadata=OF_MODELS
    )
    own_heads: Mapping[str, ClassificationHead] = field(
        default_factory=dict, repr=False, compare=False, metadata=OF_MODELS
    )

    @classmethod
    def of(
        cls,
        models: Mapping[str, nn.Module],
        tasks: Mapping[str, VisionTask],
        heads: Heads | None = None,
        backbone: Backbone | None = None,
        name: str = "own models",
    ) -> "ModelSuite":
        """Make a suite of models, which are not changed.

        Args:
            models: the expert of each task, and the "pretrained" model: encoders, or classifiers.
            tasks: the classes and images of each task. Tasks without an expert are only scored.
            heads: the head of each task; by default the last layer of its expert. The last layer
                of the pretrained model is removed, unless it gives as many features as these heads
                take: then it is CLIP's projection.
            backbone: the architecture of the encoder; by default it is recognised.
            name: the name of the suite in tables.

        Raises:
            ConfigError: there is no pretrained model, a model is no module, a head is of no task,
                a task has no head for its classes, or the architecture is not recognised.
        """
        if PRETRAINED not in models:
            raise ConfigError(
                f"There is no '{PRETRAINED}' among the models: give the one from which the others "
                f"were fine-tuned. {did_you_mean(PRETRAINED, map(str, models))}"
            )
        for key, model in models.items():
            if not isinstance(model, nn.Module):
                raise ConfigError(f"The model '{key}' is a {type(model).__name__}: give a module.")
        given = dict(heads or {})
        for task in given:
            if task not in tasks:
                raise ConfigError(
                    f"heads has '{task}', which is not one of the tasks. "
                    f"{did_you_mean(task, tasks)}"
                )
        encoder = without_own_head(models[PRETRAINED], given)
        experts = {task: model for task, model in models.items() if task != PRETRAINED}
        own = {task: chosen_head(task, tasks[task], given, experts) for task in tasks}
        return cls(
            name=name,
            backbone=backbone or backbone_of(encoder),
            pretrained=IN_MEMORY,
            tasks=dict(tasks),
            experts=dict.fromkeys(experts, IN_MEMORY),
            heads=dict.fromkeys(own, IN_MEMORY),
            models={PRETRAINED: encoder, **experts},
            own_heads=own,
        )

    def load_pretrained(self) -> nn.Module:
        """Return a copy of the pretrained encoder."""
        return deepcopy(self.models[PRETRAINED]).eval()

    def open_pretrained(self) -> LazyState:
        """Return the weights of the pretrained encoder."""
        return as_lazy(self.models[PRETRAINED].state_dict())

    def load_experts(self) -> dict[str, LazyState]:
        """Return the experts' weights by task, without heads if the pretrained encoder has none."""
        if not self.experts:
            return super().load_experts()  # raises the error
        has_head = len(without_head(shapes_of(self.open_pretrained()))) < len(
            self.open_pretrained()
        )
        states = {task: self.models[task].state_dict() for task in self.experts}
        return {task: as_lazy(state, keep_head=has_head) for task, state in states.items()}

    def load_head(self, task: str, check_classes: bool = True) -> ClassificationHead:
        """Return a copy of the head of a task, checked against the backbone and the classes."""
        self.task(task)
        head = deepcopy(self.own_heads[task])
        if check_classes:
            check_classes_of_head(task, head.classes, self.task(task).classes)
        check_width(task, head, self.backbone)
        return head

    def named_sources(self) -> dict[str, tuple[str, str]]:
        """Return an empty dictionary, since no file has any of the weights."""
        return {}

    @cached_property
    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of the weights of every model and head, by its name in results."""
        named = {PRETRAINED: self.open_pretrained()}
        states: dict[str, State] = {f"experts/{t}": s for t, s in self.load_experts().items()}
        heads = {f"heads/{task}": self.own_heads[task].state_dict() for task in self.heads}
        return {part: digest_of_state(s) for part, s in (named | states | heads).items()}

    def sources(self) -> dict[str, dict[str, str]]:
        """Return the SHA-256 of each frozen part."""
        return {part: {"source": IN_MEMORY, "sha256": d} for part, d in self.digests.items()}


def without_own_head(model: nn.Module, heads: Heads) -> nn.Module:
    """Return a copy of a pretrained model that ends in features, or in CLIP's projection."""
    encoder: Any = deepcopy(model).eval()
    own = getattr(encoder, "num_classes", 0)
    widths = {head.weight.shape[1] for head in heads.values()}
    if own and widths != {own}:
        encoder.reset_classifier(0)
    result: nn.Module = encoder
    return result


def chosen_head(
    task: str, images: VisionTask, given: Heads, experts: Mapping[str, nn.Module]
) -> ClassificationHead:
    """Return the head of a task: the one that was given, or the last layer of its expert.

    Raises:
        ConfigError: there is neither, or the layer has another number of classes than the images.
    """
    head: Any = given.get(task)
    if head is None and task in experts:
        ask = getattr(experts[task], "get_classifier", lambda: None)
        head = ask()
    if isinstance(head, ClassificationHead):
        return head
    if not isinstance(head, nn.Linear):
        raise ConfigError(
            f"There is no head for '{task}': give one, as `heads={{'{task}': HEAD}}`, or an expert "
            "that is a classifier."
        )
    names = images.classes or tuple(map(str, range(head.out_features)))
    if len(names) != head.out_features:
        raise ConfigError(
            f"The head of '{task}' has {head.out_features} classes, but its images have "
            f"{len(names)}: give the head that was made for them."
        )
    bias = torch.zeros(head.out_features) if head.bias is None else head.bias.detach().clone()
    return LinearHead(head.weight.detach().clone(), names, bias)


def as_lazy(state: State, keep_head: bool = True) -> LazyState:
    """Return weights as a state that is read tensor by tensor, with or without the head's."""
    shapes = shapes_of(state)
    return LazyState(shapes if keep_head else without_head(shapes), state.__getitem__)


def digest_of_state(state: State) -> str:
    """Return the SHA-256 of tensors: of their names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor: Tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
