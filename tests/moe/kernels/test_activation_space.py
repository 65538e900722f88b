"""Activation space against the loop over samples."""

import pytest
from helpers.merged_reference import B, D, N, assert_same, by_hand, dictionary, small_mlp

from wemoe_pl.moe.compression import Compression
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.kernels.activation_space import activation_mlp
from wemoe_pl.moe.kernels.two_layers import two_layers
from wemoe_pl.moe.low_rank import LowRank
from wemoe_pl.moe.pruned import Pruned


@pytest.mark.parametrize("column_major", [True, False])
@pytest.mark.parametrize("compression", [Dense(), Pruned(ratio=0.8), LowRank(rank=2)], ids=repr)
def test_output_and_gradients_match_the_loop_over_samples(
    compression: Compression, column_major: bool
) -> None:
    mlp = small_mlp(column_major)
    vectors = dictionary(mlp, compression)
    layers = two_layers(mlp, vectors)
    assert layers is not None
    assert_same(
        lambda r, x: activation_mlp(layers, r, x),
        lambda r, x: by_hand(mlp, vectors, r, x),
        *(B, N, D),
    )
