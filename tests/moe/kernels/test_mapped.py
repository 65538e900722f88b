"""An MLP of any form, some samples at a time."""

import pytest
from helpers.merged_reference import D, N, assert_same, by_hand, dictionary
from timm.layers import SwiGLU
from torch import nn

from wemoe_pl.moe.kernels.mapped import mapped_mlp


@pytest.mark.parametrize("samples", [1, 3, 4, 5, 100])
def test_samples_at_a_time_change_neither_output_nor_gradients(samples: int) -> None:
    mlp = SwiGLU(D, 8, norm_layer=nn.LayerNorm).double().requires_grad_(False)
    vectors = dictionary(mlp)
    room = samples * sum(weight.nbytes for weight in mlp.parameters())
    assert_same(
        lambda r, x: mapped_mlp(mlp, vectors, r, x, room),
        lambda r, x: by_hand(mlp, vectors, r, x),
        *(5, N, D),
    )
