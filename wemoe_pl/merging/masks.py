"""Pack masks of one bit per entry into bytes, for methods that store a mask for every task."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mask:
    """A mask holds a truth value for every entry of a tensor, one bit each.

    Args:
        bits: the packed truth values, (⌈n / 8⌉,) bytes for n entries.
        shape: the shape of the tensor.
    """

    bits: Tensor
    shape: torch.Size

    @classmethod
    def of(cls, truth: Tensor) -> "Mask":
        """Pack a tensor of truth values, of any shape.

        >>> Mask.of(torch.tensor([True, False, True])).bits.tolist()
        [5]
        """
        padded = truth.new_zeros(8 * math.ceil(truth.numel() / 8), dtype=torch.uint8)
        padded[: truth.numel()] = truth.flatten()
        bits = (padded.view(-1, 8) << bit_places(truth)).sum(dim=1, dtype=torch.uint8)
        return cls(bits, truth.shape)

    def unpacked(self) -> Tensor:
        """Return the tensor of truth values."""
        spread = self.bits[:, None] >> bit_places(self.bits) & 1
        return spread.flatten()[: self.shape.numel()].bool().view(self.shape)


def bit_places(beside: Tensor) -> Tensor:
    """Return the place of every bit in a byte, (8,), on the device of another tensor."""
    return torch.arange(8, dtype=torch.uint8, device=beside.device)
