"""Kernels of plain operations against the loop over samples."""

import pytest
from helpers.merged_reference import B, D, N, assert_same, dictionary, naive, small_mlp
from timm.layers import SwiGLU
from torch import nn

from wemoe_pl.moe.compression import Compression
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.kernels.plain import activation_mlp, mapped, untiled_mlp
from wemoe_pl.moe.kernels.two_layers import Kernel, two_layers
from wemoe_pl.moe.low_rank import LowRank
from wemoe_pl.moe.pruned import Pruned
from wemoe_pl.moe.quantised import Quantised


@pytest.mark.parametrize("kernel", [activation_mlp, untiled_mlp])
@pytest.mark.parametrize("column_major", [True, False])
@pytest.mark.parametrize(
    "compression", [Dense(), Pruned(ratio=0.8), LowRank(rank=2), Quantised()], ids=repr
)
def test_output_and_gradients_match_the_loop_over_samples(
    compression: Compression, column_major: bool, kernel: Kernel
) -> None:
    mlp = small_mlp(column_major)
    vectors = dictionary(mlp, compression)
    layers = two_layers(mlp, vectors)
    assert layers is not None
    assert_same(
        lambda r, x: kernel(layers, r, x),
        lambda r, x: naive(mlp, vectors, r, x),
        *(B, N, D),
    )


@pytest.mark.parametrize("samples", [1, 3, 4, 5, 100])
def test_samples_at_a_time_change_neither_output_nor_gradients(samples: int) -> None:
    mlp = SwiGLU(D, 8, norm_layer=nn.LayerNorm).double().requires_grad_(False)
    vectors = dictionary(mlp)
    room = samples * sum(weight.nbytes for weight in mlp.parameters())
    assert_same(
        lambda r, x: mapped(mlp, vectors, r, x, most_bytes=room),
        lambda r, x: naive(mlp, vectors, r, x),
        *(5, N, D),
    )
