"""Torch's global settings have no bearing in a block, and are there again behind it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from wemoe_pl.model.torch_defaults import torch_defaults

SETTINGS: list[tuple[Callable[[Any], None], Any]] = [
    (torch.set_default_dtype, torch.float64),
    (torch.set_default_dtype, torch.bfloat16),
    (torch.set_default_device, "meta"),
]


@pytest.fixture(autouse=True)
def reset() -> Iterator[None]:
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)


@pytest.mark.parametrize(("set_default", "value"), SETTINGS)
def test_new_tensors_are_single_and_on_the_cpu(
    set_default: Callable[[Any], None], value: Any
) -> None:
    set_default(value)
    before = torch.ones(1)
    with torch_defaults():
        within = torch.ones(1)
    assert (within.dtype, within.device.type) == (torch.float32, "cpu")
    after = torch.ones(1)
    assert (after.dtype, after.device) == (before.dtype, before.device)


def test_what_is_drawn_leaves_no_trace_and_an_error_none_either() -> None:
    torch.set_default_dtype(torch.float64)
    state = torch.get_rng_state()

    @torch_defaults()
    def draw_and_fail() -> None:
        torch.randn(5)
        raise RuntimeError("in the block")

    with pytest.raises(RuntimeError, match="in the block"):
        draw_and_fail()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_default_dtype() == torch.float64
