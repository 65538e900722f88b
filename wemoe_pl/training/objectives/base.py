"""Define the interface of objectives, and check what a user's objective needs and returns."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import torch
from torch import Tensor, nn

from wemoe_pl.errors import ConfigError, WeMoEError, did_you_mean
from wemoe_pl.training.objectives.outputs import AdaptationOutputs, Need


class Objective(ABC):
    """An objective computes the loss of a model's answers for images of one task, without labels.

    It is called once per task and step, and adaptation minimises the sum over tasks. Sub-classes
    should be dataclasses with plain fields, so that a YAML file can hold one.

    Attributes:
        needs: the inputs that it reads in addition to the logits: any of "features",
            "routing_weights", "images", "expert_logits" and "expert_features". No others are
            computed. It is usually a class attribute; if it depends on options, a property.
    """

    needs: Sequence[Need] = ()

    @abstractmethod
    def __call__(self, outputs: AdaptationOutputs) -> Tensor:
        """Return the loss of one task's batch, a scalar with gradients."""

    @property
    def least_images(self) -> int:
        """Return the number of images per task and step below which nothing can be learned."""
        return 1


def check_objective(objective: Any) -> None:
    """Raise `ConfigError` unless this is an objective without trainable weights of its own."""
    name = objective.__name__ if isinstance(objective, type) else type(objective).__name__
    if isinstance(objective, type) or not isinstance(objective, Objective):
        raise ConfigError(
            f"{name} is not an objective: give an object of a class that is derived from "
            "wemoe_pl.Objective."
        )
    if isinstance(objective, nn.Module) and any(p.requires_grad for p in objective.parameters()):
        raise ConfigError(
            f"The objective {name} has trainable weights, but only those of the merged model may "
            "be trained: call `requires_grad_(False)` on it."
        )


def needs_of(objective: Objective) -> frozenset[Need]:
    """Return the inputs that an objective needs in addition to the logits.

    Raises:
        ConfigError: it needs something that does not exist.
    """
    name, known = type(objective).__name__, get_args(Need)
    if isinstance(objective.needs, str):
        raise ConfigError(
            f"The `needs` of the objective {name} are a string: write a tuple, as in "
            f'`needs = ("{objective.needs}",)`.'
        )
    for need in objective.needs:
        if need not in known:
            raise ConfigError(
                f"The objective {name} needs '{need}', which does not exist. "
                f"{did_you_mean(str(need), known)}"
            )
    return frozenset(objective.needs)


def check_batch_size(objective: Objective, images: int) -> None:
    """Raise `ConfigError` for fewer images per task and step than an objective can learn from."""
    if images < objective.least_images:
        raise ConfigError(
            f"The objective {type(objective).__name__} compares the images that a step has of a "
            f"task, but there are only {images}: set data.batch_size to {objective.least_images} "
            "or more."
        )


def loss_of(objective: Objective, outputs: AdaptationOutputs) -> Tensor:
    """Return the loss of one task's batch.

    Raises:
        ConfigError: there are too few images, or the objective does not return a scalar tensor
            with gradients.
    """
    check_batch_size(objective, len(outputs.logits))
    loss = objective(outputs)
    returned = f"The objective {type(objective).__name__} returned"
    end = f"for '{outputs.task}': it has to return a scalar tensor with gradients"
    if not isinstance(loss, Tensor):
        raise ConfigError(f"{returned} not a tensor but {type(loss).__name__} {end}.")
    if loss.ndim:
        raise ConfigError(
            f"{returned} a tensor of shape {tuple(loss.shape)} {end}, such as its mean."
        )
    if torch.is_grad_enabled() and not loss.requires_grad:
        raise ConfigError(
            f"{returned} a loss without gradients {end}. Compute it from what is adapted, such as "
            "the logits, and return `0 * outputs.logits.sum()` where nothing can be learned."
        )
    return loss


def check_finite_losses(
    objective: Objective, outputs: Mapping[str, AdaptationOutputs], losses: Mapping[str, Tensor]
) -> None:
    """Raise `WeMoEError` if an objective makes an infinite or undefined loss of finite logits.

    Args:
        objective: the objective that was called.
        outputs: the inputs of the objective, by task.
        losses: the losses that it returned, by task.
    """
    if torch.stack(list(losses.values())).isfinite().all():
        return
    for task, loss in losses.items():
        if not loss.isfinite() and outputs[task].logits.isfinite().all():
            raise WeMoEError(
                f"The objective {type(objective).__name__} is {loss.item()} for '{task}', though "
                "all logits are finite: nothing can be learned from it. Look for a logarithm of 0 "
                "or a division by 0 in it."
            )
