"""Torch's global settings have no bearing in a block, and are there again behind it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from helpers.other_defaults import OTHER_DEFAULTS, default_dtype

from wemoe_pl.model.torch_defaults import torch_defaults


@pytest.mark.parametrize("other", OTHER_DEFAULTS)
def test_new_tensors_are_single_and_on_the_cpu(
    other: Callable[[], AbstractContextManager[Any]],
) -> None:
    with other():
        before = torch.ones(1)
        with torch_defaults():
            within = torch.ones(1)
        after = torch.ones(1)
    assert (within.dtype, within.device.type) == (torch.float32, "cpu")
    assert (after.dtype, after.device) == (before.dtype, before.device)


def test_what_is_drawn_leaves_no_trace_and_an_error_none_either() -> None:
    state = torch.get_rng_state()

    @torch_defaults()
    def draw_and_fail() -> None:
        torch.randn(5)
        raise RuntimeError("in the block")

    with default_dtype(torch.float64):
        with pytest.raises(RuntimeError, match="in the block"):
            draw_and_fail()
        assert torch.get_default_dtype() == torch.float64
    assert torch.equal(torch.get_rng_state(), state)
