"""What is made of a file's tensors can be undone; every rule of the forms is in `test_forms`."""

from typing import Any

import pytest
import torch
from torch import Tensor

from wemoe_pl.checkpoints.translation import (
    KeyMap,
    as_token,
    stacked,
    transposed,
    unchanged,
    undo,
    with_batch,
)


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (unchanged, [torch.randn(2, 3)]),
        (stacked, [torch.randn(2, 3) for _ in range(3)]),
        (as_token, [torch.randn(4)]),
        (with_batch, [torch.randn(5, 4)]),
        (transposed, [torch.randn(2, 3)]),
    ],
)
def test_what_was_made_is_undone(make: Any, parts: list[Tensor]) -> None:
    undone = undo(make, make(*parts), len(parts))
    assert len(undone) == len(parts)
    assert all(torch.equal(a, b) for a, b in zip(undone, parts, strict=True))


def test_a_rule_names_the_files_keys() -> None:
    rule = KeyMap(r"blocks\.(\d+)\.qkv", (r"layers.\1.q", r"layers.\1.k"), stacked)
    assert rule.keys("blocks.7.qkv") == ("layers.7.q", "layers.7.k")
    assert rule.keys("blocks.7.qkv.bias") is None
