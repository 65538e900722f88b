"""An objective: the margin between the two most probable classes."""

from dataclasses import dataclass

from torch import Tensor

from wemoe_pl import AdaptationOutputs, Objective


@dataclass(frozen=True)
class Margin(Objective):
    """Widen the margin between the two most probable classes of every image.

    Args:
        enough: the margin from which on an image no longer counts.
    """

    enough: float = 1.0

    def __call__(self, outputs: AdaptationOutputs) -> Tensor:
        """Return by how much the margins of a task's images fall short, on average."""
        first, second = outputs.logits.softmax(dim=-1).topk(2).values.unbind(dim=-1)
        return (self.enough - (first - second)).clamp(min=0).mean()
