"""Make a plain classifier of one task, whose last layer is the task's head."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wemoe_pl.checkpoints import Backbone
from wemoe_pl.checkpoints.heads import ClassificationHead, LinearHead, trainable
from wemoe_pl.errors import ConfigError
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.model.classifier import MultiTaskClassifier


@torch.no_grad()
def classifier_of(model: ExportedModel, task: str, say: Callable[[str], None]) -> ExportedModel:
    """Return a model whose encoder is a plain timm classifier of one task.

    Mixtures are folded with the mean routing weights of the task's images. The encoder's features
    are the logits of the task.

    Args:
        model: the model of all tasks.
        task: the task of all images that it will see.
        say: a function that is told what a plain classifier cannot do as the model does it.

    Raises:
        ConfigError: there is no such task, its routing is not known, or the model has no weights
            that are the same for all images of a task.
    """
    encoder: Any = model.classifier.specialise(task)
    last = encoder.head if isinstance(getattr(encoder, "head", None), nn.Module) else None
    own, head = last if isinstance(last, nn.Sequential) else (nn.Identity(), last)
    if not isinstance(own, nn.Identity | nn.Linear) or not isinstance(head, ClassificationHead):
        raise ConfigError(
            f"The backbone '{model.suite.backbone.model}' does not end in a linear layer, so no "
            "classifier of timm has a head like that of its tasks: leave --task out."
        )
    linear = head if isinstance(head, LinearHead) and not head.normalize else None
    if linear is None:
        encoder.head = own
        norm = encoder(model.images).norm(dim=-1).mean().item()
        linear = without_norm(head, norm)
        say(
            f"The head of '{task}' divides features by their norm, and a plain classifier cannot: "
            f"it divides all by {norm:.3g}, the mean norm for images of noise. The order of the "
            "classes stays the same, but their probabilities may be sharper or flatter."
        )
    encoder.head = one_layer(own, linear.weight, linear.bias)
    backbone = Backbone(
        model.suite.backbone.model,
        {**model.suite.backbone.options, "num_classes": len(head.classes)},
    )
    classifier = MultiTaskClassifier(
        encoder.requires_grad_(False).eval(),
        {},
        backbone=backbone,
        experts=model.classifier.experts,
    )
    suite = replace(model.suite, backbone=backbone)
    return replace(model, classifier=classifier, suite=suite, task=task, origin=model)


def without_norm(head: ClassificationHead, norm: float) -> LinearHead:
    """Return a linear head for features of one norm, in place of one that divides by the norm."""
    linear = trainable(head)
    return LinearHead(linear.weight / norm, head.classes, linear.bias)


def one_layer(projection: nn.Module, weight: Tensor, bias: Tensor) -> nn.Linear:
    """Return one linear layer for a projection, or none, and a head behind it."""
    if isinstance(projection, nn.Linear):
        bias = bias if projection.bias is None else F.linear(projection.bias, weight, bias)
        weight = weight @ projection.weight
    layer = nn.Linear(weight.shape[1], weight.shape[0], device=weight.device, dtype=weight.dtype)
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)
    return layer


@torch.no_grad()
def change_in_words(model: ExportedModel, original: ExportedModel) -> str:
    """Say by how much an altered model's features, or logits of its task, differ from before."""
    task, images = model.task, original.images
    before = original.features if task is None else original.classifier(images, task)
    lost, most = (model.features.float() - before.float()).abs().max(), before.abs().max()
    if task is None:
        return f"In this form, features changed by up to {lost:.2g}; the largest is {most:.2g}."
    return (
        f"For images of noise, its logits differ from those of the multi-task model by up to "
        f"{lost:.2g}; the largest is {most:.2g}. Score it on images of '{task}' before you rely on "
        "it."
    )
