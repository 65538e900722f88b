"""Define what Fisher merging and RegMean share: closed forms over samples of every task."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.average import SimpleAverage
from wemoe_pl.merging.base import MergeMethod, fitting_states, frozen_copy
from wemoe_pl.merging.baselines import PerTaskEncoder
from wemoe_pl.moe.task_vectors import Model


class Sums(ABC):
    """`Sums` adds up what a method needs of samples, in a size that does not grow with them.

    The size does not depend on the number of tasks either. Only RegMean++ keeps the images.
    """

    @abstractmethod
    def add(
        self, task: str, expert: nn.Module, head: nn.Module, images: Tensor, labels: Tensor
    ) -> None:
        """Add a batch of one task: its expert and head, images (B, 3, H, W) and labels (B,)."""

    @abstractmethod
    def solve(self, averages: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the merged weights of all tensors that the samples say something about.

        Args:
            averages: the simple average of the experts, by name.
        """

    def nbytes(self, images: Tensor) -> int:
        """Return the number of bytes that are taken until the weights are solved for.

        Args:
            images: the images of all tasks together, (N, 3, H, W), on the device "meta".
        """
        return sum(leaf.nbytes for leaf in tree_leaves(vars(self)) if isinstance(leaf, Tensor))


class SampleMethod(MergeMethod):
    """A sample method computes the merged weights from samples; without any, it is the average.

    Attributes:
        needs_labels: True if the samples must have labels.
    """

    needs_labels: ClassVar[bool]

    def merge(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> nn.Module:
        """Return the simple average, whose weights all count as trainable until they are solved."""
        return SimpleAverage().merge(pretrained, experts).requires_grad_(True)

    def merge_with_samples(
        self,
        pretrained: nn.Module,
        experts: Mapping[str, Model],
        samples: Mapping[str, Iterable[tuple[Tensor, Tensor]]],
        heads: Mapping[str, nn.Module] | None = None,
    ) -> nn.Module:
        """Return the merged encoder, whose weights are computed from samples in one pass.

        Args:
            pretrained: the encoder that the experts were fine-tuned from.
            experts: the expert of each task: its encoder, or its weights by name.
            samples: the batches of each task: images (B, 3, H, W), prepared for the encoder, and
                labels (B,), at which only a method that `needs_labels` looks.
            heads: the head of each task, features (B, D) → logits (B, C), for such a method.

        Raises:
            MergeError: a task has no samples, or no head where that is needed.
        """
        frozen = frozen_copy(pretrained, pretrained.state_dict()).eval()
        states = fitting_states(pretrained.state_dict(), experts)
        encoders, sums = PerTaskEncoder(frozen, states), self.start(frozen, experts)
        for task in states:
            has_head = heads is not None and task in heads
            if task not in samples or (self.needs_labels and not has_head):
                lacking = "a head" if task in samples else "samples"
                raise MergeError(f"{self.label} needs {lacking} for every task: '{task}' has none.")
            head = heads[task] if heads is not None and has_head else nn.Identity()
            for images, labels in samples[task]:
                sums.add(task, encoders.become(task), head, images, labels)
        merged = self.merge(pretrained, experts).requires_grad_(False)
        averages = merged.state_dict()
        merged.load_state_dict(averages | sums.solve(averages))
        return merged

    @abstractmethod
    def start(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> Sums:
        """Return sums over no samples, for encoders like the pretrained one and on its device.

        Args:
            pretrained: the encoder that the experts were fine-tuned from.
            experts: the expert of each task: its encoder, or its weights by name; only methods
                that need them again once all samples have been seen read them.
        """
