"""Dense task vectors are read where they lie."""

import pytest
import torch
from helpers.stored_vectors import (
    T,
    matrix,
)

from wemoe_pl.moe.dense import Dense, DenseVectors


def test_dense_columns_of_a_column_major_matrix_are_not_copied() -> None:
    weight, tuned = matrix((7, 9), column_major=True)
    vectors = Dense().store(weight, tuned.__getitem__, T)
    assert isinstance(vectors, DenseVectors)
    tile = vectors.tile(2, 5, 1, torch.float32)
    assert tile.reshape(T, -1).data_ptr() == vectors.stacked[0, 0, 2].data_ptr()
    second = vectors.tiles(9, 2, 1, torch.float32)(1)
    assert second.data_ptr() == vectors.stacked[0, 0, 2].data_ptr()


@pytest.mark.parametrize("dim", [0, 1])
def test_a_tile_of_another_precision_is_written_where_it_is_wanted(dim: int) -> None:
    weight, tuned = matrix((7, 9), column_major=True)
    vectors = Dense("bfloat16").store(weight, tuned.__getitem__, T)
    room = torch.zeros(T + 1, 3, weight.shape[1 - dim])
    vectors.write_tile(2, dim, room[:-1])
    entries = torch.stack([(expert - weight).bfloat16().float() for expert in tuned])
    assert room[:-1].equal(entries[:, 2:5] if dim == 0 else entries.mT[:, 2:5])
    assert not room[-1].any()
    assert vectors.converts(torch.float32)
    assert not vectors.converts(torch.bfloat16)
