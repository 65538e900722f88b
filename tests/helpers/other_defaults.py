"""Torch's global settings, each as a block in which it is not the usual one."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Create tensors in another precision in the block."""
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


OTHER_DEFAULTS: list[Callable[[], AbstractContextManager[Any]]] = [
    partial(default_dtype, torch.float64),
    partial(default_dtype, torch.bfloat16),
    partial(torch.device, "meta"),
]
