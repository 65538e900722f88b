"""The precisions are torch's own."""

import torch

from wemoe_pl.moe.precision import PRECISIONS


def test_every_precision_is_one_of_torch() -> None:
    assert all(getattr(torch, name).is_floating_point for name in PRECISIONS)
