"""Turn a multi-task model into a plain classifier of one task, for images whose task is known."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from wemoe_pl.checkpoints.heads import ClassificationHead
from wemoe_pl.errors import ConfigError
from wemoe_pl.merging.baselines import PerTaskEncoder
from wemoe_pl.merging.folding import fold, folds
from wemoe_pl.model.multi_task_model import MultiTaskModel
from wemoe_pl.moe.routed_linear import RoutedLinear


@torch.no_grad()
def specialised(model: MultiTaskModel, task: str, routing_weights: Tensor | None) -> nn.Module:
    """Return a plain timm encoder that ends in the head of a task: images → logits.

    Args:
        model: the model, which is left as it is.
        task: the task of all images that the encoder will see.
        routing_weights: the routing weights (M, T) by which the model's M mixtures are folded;
            None for a model without routers that look at their input.

    Raises:
        ConfigError: the model has no such task, or has no plain weights.
        MergeError: the routing weights are of another shape.
    """
    head = model.head(task)
    if why_not := why_never_plain(model):
        raise ConfigError(why_not)
    if isinstance(model.encoder, PerTaskEncoder):
        encoder = deepcopy(model.encoder.become(task))
    elif routing_weights is not None:
        encoder = fold(model.encoder, routing_weights.to(next(model.encoder.parameters())))
    elif folds(model.encoder):
        encoder = fold(model.encoder)
    else:
        encoder = deepcopy(model.encoder)
    return ending_in(encoder, deepcopy(head)).requires_grad_(False).eval()


def why_never_plain(model: MultiTaskModel) -> str:
    """Say why no plain encoder stands for a model, even for one task; empty if one does."""
    if model.chooses_experts:
        return (
            "This model chooses some experts for every image, and no fixed weights stand for that: "
            "specialise a static merge or a WEMoE."
        )
    if any(isinstance(module, RoutedLinear) for module in model.encoder.modules()):
        return (
            "This model routes every token by itself, and no fixed weights stand for that: "
            "specialise a static merge or a WEMoE."
        )
    return ""


def ending_in(encoder: nn.Module, head: ClassificationHead) -> nn.Module:
    """Put a head at the end of a timm encoder, behind its projection if it has one."""
    own = getattr(encoder, "head", None)
    if not isinstance(own, nn.Module):
        return nn.Sequential(encoder, head)
    last: nn.Module = head if isinstance(own, nn.Identity) else nn.Sequential(own, head)
    encoder.set_submodule("head", last)
    encoder.num_classes = len(head.classes)  # type: ignore[assignment]  # as timm counts them
    return encoder
