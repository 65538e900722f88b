"""Packed masks: what was put in comes out, in an eighth of the bytes."""

import numpy as np
import pytest
import torch

from wemoe_pl.merging.masks import Mask


@pytest.mark.parametrize("shape", [(), (1,), (7,), (8,), (9,), (3, 5, 7), (0,), (2, 0)])
def test_any_shape_comes_back(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(shape, generator=generator) < 0.5
    mask = Mask.of(truth)
    assert torch.equal(mask.unpacked(), truth)
    assert mask.unpacked().dtype == torch.bool
    assert mask.bits.nbytes == -(-truth.numel() // 8)


def test_bits_are_in_the_order_of_numpy() -> None:
    truth = torch.rand(50, generator=torch.Generator().manual_seed(1)) < 0.3
    packed = np.packbits(truth.numpy(), bitorder="little")
    assert Mask.of(truth).bits.tolist() == packed.tolist()


def test_extremes_are_whole_bytes() -> None:
    assert Mask.of(torch.ones(16, dtype=torch.bool)).bits.tolist() == [255, 255]
    assert Mask.of(torch.zeros(16, dtype=torch.bool)).bits.tolist() == [0, 0]
