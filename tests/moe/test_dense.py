"""Dense task vectors are read where they lie."""

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
