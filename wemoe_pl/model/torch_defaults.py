"""Keep out of torch's global settings, which belong to the program that uses this package."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Compute with torch's own defaults, and leave those of the program as they are.

    In the block new tensors are in single precision and in the memory of the CPU, whatever
    `torch.set_default_dtype` and `set_default_device` say. Random numbers that are drawn there
    leave torch's global state unchanged. The function is a decorator, too: `@torch_defaults()`.

    >>> torch.set_default_dtype(torch.float64)
    >>> with torch_defaults():
    ...     torch.ones(1).dtype
    torch.float32
    >>> torch.get_default_dtype()
    torch.float64
    >>> torch.set_default_dtype(torch.float32)
    """
    dtype = torch.get_default_dtype()
    with ExitStack() as stack:
        if dtype != torch.float32:
            torch.set_default_dtype(torch.float32)
            stack.callback(torch.set_default_dtype, dtype)
        if torch.get_default_device().type != "cpu":  # a context slows every operation
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(torch.random.fork_rng(devices=[]))
        yield
