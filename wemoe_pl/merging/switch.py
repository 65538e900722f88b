"""Store a task vector as a mask, signs and one number: T-Switch (CVPR 2025; arXiv 2604.28109)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from wemoe_pl.checkpoints import State
from wemoe_pl.merging.masks import Mask
from wemoe_pl.merging.per_task import Compressed, PerTaskMethod
from wemoe_pl.moe.task_vectors import check_keep, trim


@dataclass(frozen=True)
class TSwitch(PerTaskMethod):
    """T-Switch gives a task, which must be known, the signs of its largest entries times a factor.

    The factor gives these signs the norm of the whole task vector. Nothing is shared between tasks,
    and two bits are stored per entry and task.

    Args:
        keep: the share of each task vector's entries that is kept, those of largest magnitude. The
            default is ours.
    """

    keep: float = 0.5

    def __post_init__(self) -> None:
        """Refuse a share out of range before anything is loaded."""
        check_keep(self.keep)

    @property
    def label(self) -> str:
        """Return the published name."""
        return "T-Switch"

    def prepare(self, vector: State) -> State:
        """Return the task vector trimmed by one threshold for all its tensors."""
        return trim(vector, self.keep)

    def compress(self, vectors: Tensor) -> Compressed:
        """Store two bits per entry and task: whether it is kept, and whether it is positive."""
        kept = [Mask.of(vector != 0) for vector in vectors]
        positive = [Mask.of(vector > 0) for vector in vectors]

        def unpack(number: int) -> Tensor:
            signs = positive[number].unpacked().to(vectors.dtype) * 2 - 1
            return signs * kept[number].unpacked()

        return Compressed([*kept, *positive], unpack)

    def scales(self, vectors: Sequence[State], stored: Mapping[str, Compressed]) -> list[float]:
        """Return ‖τ_i‖ / √(the number of kept entries) per expert; 0 for a task vector of 0."""
        scales = []
        for i, vector in enumerate(vectors):
            squares = sum(vector[key].square().sum().item() for key in stored)
            kept = sum(part.unpack(i).abs().sum().item() for part in stored.values())
            scales.append((squares / kept) ** 0.5 if kept else 0.0)
        return scales
