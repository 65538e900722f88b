"""Define the interface of merge methods, and the checks of encoders and experts that they share."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import is_dataclass
from functools import partial
from inspect import signature
from typing import ClassVar

from torch import Tensor, nn

from wemoe_pl.checkpoints import LazyState, State, factors_of, shapes_of, without_head
from wemoe_pl.errors import ConfigError, MergeError
from wemoe_pl.merging.expert_check import measured
from wemoe_pl.moe.scaling import DEFAULT_SCALING
from wemoe_pl.moe.task_vectors import Model, check_compatible, state_of

# Examples of backbones that can be upscaled, one per family, by their names in timm.
UPSCALABLE = ("vit_base_patch32_clip_224", "deit3_small_patch16_224", "eva02_tiny_patch14_224")
WHAT_WILL_DO = (
    "Any timm vision transformer with `blocks[i].mlp` will do, such as "
    f"{', '.join(UPSCALABLE[:-1])} or {UPSCALABLE[-1]}."
)
NOT_ADAPTED = ", not adapted"  # follows the name of a method before adaptation


class MergeMethod(ABC):
    """A merge method is a rule that makes one encoder of a pretrained one and its experts.

    It is a dataclass of plain fields, so that a YAML, a checkpoint and `results.json` can all hold
    it. It does not modify the encoders that it is given.

    Attributes:
        is_static: True if the merged encoder is final, so that a fit could change nothing in it.
    """

    is_static: ClassVar[bool] = False

    @abstractmethod
    def merge(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> nn.Module:
        """Return the merged encoder; only what adaptation should train requires gradients.

        Args:
            pretrained: the encoder that the experts were fine-tuned from.
            experts: the expert of each task: its encoder, or its weights by name, which may be
                read lazily.
        """

    @property
    def label(self) -> str:
        """Return the name of the method in tables and `results.json`."""
        return type(self).__name__

    @property
    def trains_heads(self) -> bool:
        """Return whether copies of the experts' heads are adapted together with the encoder."""
        return False

    @property
    def learning_rate(self) -> float:
        """Return the learning rate that was published for adapting the merged encoder."""
        return 1e-3

    @property
    def scaling(self) -> float:
        """Return λ, the start of adaptation and the coefficient of task arithmetic in reports."""
        return DEFAULT_SCALING

    @property
    def routes_batches(self) -> bool:
        """Return whether the output for an image depends on the rest of its batch."""
        return False

    @property
    def initial_images(self) -> int:
        """Return the number of unlabelled images of every task for `initialise`, or 0."""
        return 0

    def initialise(  # noqa: B027  (most methods have nothing to do)
        self, encoder: nn.Module, images: Mapping[str, Tensor]
    ) -> None:
        """Change a merged encoder before adaptation, on the basis of a few images of every task.

        Args:
            encoder: the encoder that `merge` returned.
            images: the images of each task, (N, 3, H, W), in the order of the experts.
        """

    def initial_weight(self, experts: int) -> float | None:
        """Return the routing weight of each expert before adaptation, for a number of experts.

        It is None if the method does not route, or if experts begin with different weights.
        """
        return None


def checked_method(method: MergeMethod) -> MergeMethod:
    """Return the method after a check that its options can be written down.

    Raises:
        ConfigError: the method takes options and is no dataclass.
    """
    kind = type(method)
    if not is_dataclass(method) and signature(kind).parameters:
        raise ConfigError(
            f"The merge method {kind.__name__} has options and is not a dataclass: put "
            "@dataclass(frozen=True) above the class, so that checkpoints can hold them."
        )
    return method


def check_experts(experts: Mapping[str, Model]) -> None:
    """Raise `MergeError` when there is nothing to merge."""
    if not experts:
        raise MergeError("There is no expert to merge: give at least one.")


def checked_states(base: State, experts: Mapping[str, Model]) -> list[State]:
    """Return the experts' weights as `fitting_states` does, and warn of odd experts.

    The warning comes as soon as an expert has been read that is the pretrained model itself, or
    far from it.
    """
    states = fitting_states(base, experts)
    return [measured(task, state, base) for task, state in states.items()]


def fitting_states(base: State, experts: Mapping[str, Model]) -> dict[str, State]:
    """Return the weights of each expert, without the head of a classifier if `base` has none.

    Raises:
        MergeError: there is no expert, or one has other keys or shapes than `base`.
    """
    check_experts(experts)
    states = {task: fitting(state_of(expert), base) for task, expert in experts.items()}
    for task, state in states.items():
        check_compatible(base, state, f"Expert '{task}'")
    return states


def fitting(expert: State, base: State) -> State:
    """Return the weights of an expert, without its head if the pretrained model has none."""
    shapes = shapes_of(expert)
    kept = without_head(shapes)
    if len(kept) == len(shapes) or len(without_head(shapes_of(base))) < len(base):
        return expert
    return LazyState(kept, expert.__getitem__, partial(factors_of, expert))


def frozen_copy(encoder: nn.Module, weights: State) -> nn.Module:
    """Return a copy of an encoder with other weights, none of which requires gradients."""
    copy = deepcopy(encoder).requires_grad_(False)
    copy.load_state_dict(weights)
    return copy


def blocks_of(encoder: nn.Module) -> nn.ModuleList | nn.Sequential:
    """Return the transformer blocks of a timm encoder, after a check that each has an `mlp`.

    Raises:
        MergeError: the encoder has no `blocks[i].mlp`; the message names its class.
    """
    blocks = getattr(encoder, "blocks", None)
    if not isinstance(blocks, nn.ModuleList | nn.Sequential) or not len(blocks):
        raise MergeError(
            f"Cannot upscale a {type(encoder).__name__}: it has no list of transformer blocks "
            f"named `blocks`. {WHAT_WILL_DO}"
        )
    for i, block in enumerate(blocks):
        if not isinstance(getattr(block, "mlp", None), nn.Module):
            raise MergeError(
                f"Cannot upscale a {type(encoder).__name__}: its blocks[{i}], a "
                f"{type(block).__name__}, has no `mlp`. {WHAT_WILL_DO}"
            )
    return blocks
