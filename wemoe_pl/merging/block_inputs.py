"""Collect the inputs of an encoder's blocks, so that the blocks can be run one after the other."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from torch import Tensor, nn

from wemoe_pl.merging.base import blocks_of

BlockInput = tuple[Tensor, dict[str, Any]]  # tokens (B, N, D), and a block's keyword arguments


class AllSeen(Exception):  # noqa: N818  it is no error
    """`AllSeen` ends a forward pass once all that it was made for has been seen."""


def inputs_of_blocks(encoder: nn.Module, batches: Iterable[Tensor]) -> list[BlockInput]:
    """Return the input of an encoder's first block for every batch of images (B, 3, H, W)."""
    seen: list[BlockInput] = []

    def note(_: nn.Module, given: tuple[Tensor, ...], options: dict[str, Any]) -> None:
        seen.append((given[0], options))
        raise AllSeen

    hook = blocks_of(encoder)[0].register_forward_pre_hook(note, with_kwargs=True)
    try:
        for images in batches:
            with suppress(AllSeen):
                encoder(images)
    finally:
        hook.remove()
    return seen


def run_block(block: nn.Module, inputs: list[BlockInput]) -> None:
    """Run a block on its inputs, and replace them in the list by the inputs of the next block."""
    for place, (tokens, options) in enumerate(inputs):
        inputs[place] = block(tokens, **options), options
