"""Methods in closed form over samples of every task: what Fisher merging and RegMean share."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from wemoe_pl.merging.average import SimpleAverage
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.moe.task_vectors import Model


class Sums(ABC):
    """What is kept of samples: sums, of a size that depends on neither their number nor the tasks'.

    RegMean++ alone keeps the images.
    """

    @abstractmethod
    def add(
        self, task: str, expert: nn.Module, head: nn.Module, images: Tensor, labels: Tensor
    ) -> None:
        """Add a batch of one task: its expert and head, images (B, 3, H, W) and labels (B,)."""

    @abstractmethod
    def solve(self, averages: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The merged weights of whatever the samples say something about.

        Args:
            averages: the simple average of the experts, by name.
        """


class SampleMethod(MergeMethod):
    """A method that computes the merged weights from samples; before the first, it is the average.

    Attributes:
        needs_labels: must the samples have labels?
    """

    needs_labels: ClassVar[bool]

    def merge(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> nn.Module:
        """The simple average of the experts, all of whose weights are still to be computed."""
        return SimpleAverage().merge(pretrained, experts).requires_grad_(True)

    @abstractmethod
    def start(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> Sums:
        """Return sums over no samples, for encoders like the pretrained one, and where it is.

        Args:
            pretrained: the encoder that the experts were fine-tuned from.
            experts: per task, its encoder or the weights of it by name; read only by methods that
                need them again once all samples have been seen.
        """
