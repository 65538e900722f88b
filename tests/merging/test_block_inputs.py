"""Blocks that run one after the other come to what their encoder does."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from wemoe_pl.merging.base import blocks_of
from wemoe_pl.merging.block_inputs import inputs_of_blocks, run_block


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "eva02_tiny_patch14_224"])
@torch.no_grad()
def test_the_blocks_come_to_what_the_encoder_does(
    tiny_vit: Callable[..., nn.Module], name: str
) -> None:
    encoder = tiny_vit(0, name)
    batches = [torch.randn(count, 3, 32, 32) for count in (2, 3)]
    others: list[nn.Module] = []
    hook = blocks_of(encoder)[1].register_forward_hook(lambda block, *_: others.append(block))
    inputs = inputs_of_blocks(encoder, batches)
    hook.remove()
    assert not others  # the input of the first block is all that is needed
    for block in blocks_of(encoder):
        run_block(block, inputs)
    norm, features = encoder.get_submodule("norm"), encoder.forward_features
    assert callable(features)
    for images, (tokens, _) in zip(batches, inputs, strict=True):
        torch.testing.assert_close(norm(tokens), features(images))
    assert not blocks_of(encoder)[0]._forward_pre_hooks
