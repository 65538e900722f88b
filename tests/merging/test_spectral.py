"""Decompositions and polar factors against their definitions."""

import pytest
import torch
from torch import Tensor

from wemoe_pl.merging.spectral import decompose, polar_factor


def random(rows: int, columns: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("rows", "columns"), [(5, 3), (3, 5), (4, 4), (1, 6)])
def test_a_decomposition_of_full_rank_is_the_matrix(rows: int, columns: int) -> None:
    matrix = random(rows, columns)
    whole = decompose(matrix)
    torch.testing.assert_close(whole.matrix, matrix)
    eye = torch.eye(min(rows, columns), dtype=torch.float64)
    torch.testing.assert_close(whole.left.T @ whole.left, eye)
    torch.testing.assert_close(whole.right @ whole.right.T, eye)


def test_a_truncated_one_has_the_largest_singular_values() -> None:
    matrix = torch.diag(torch.tensor([1.0, 4.0, 2.0, 3.0]))
    assert decompose(matrix, 2).values.tolist() == [4.0, 3.0]
    assert decompose(matrix, 2).matrix.diagonal().tolist() == [0.0, 4.0, 0.0, 3.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_singular_values_that_are_rounding_are_left_out(dtype: torch.dtype) -> None:
    matrix = (random(30, 2) @ random(2, 20, seed=1)).to(dtype)
    assert decompose(matrix).values.shape == (2,)
    assert decompose(torch.zeros(3, 4, dtype=dtype)).left.shape == (3, 0)
    assert decompose(matrix * 1e-20).values.shape == (2,)  # what is small counts all the same


def test_the_polar_factor_is_the_nearest_matrix_with_orthonormal_columns() -> None:
    matrix = random(6, 3)
    factor = polar_factor(matrix)
    torch.testing.assert_close(factor.T @ factor, torch.eye(3, dtype=torch.float64))
    symmetric = factor.T @ matrix  # the other part, which is positive definite
    torch.testing.assert_close(symmetric, symmetric.T)
    assert torch.linalg.eigvalsh(symmetric).min() > 0
    for seed in range(20):
        other = torch.linalg.qr(random(6, 3, seed)).Q
        assert torch.dist(matrix, factor) < torch.dist(matrix, other)


def test_the_polar_factor_of_columns_that_are_equal_shares_a_direction() -> None:
    column = torch.tensor([[3.0], [4.0]], dtype=torch.float64)
    factor = polar_factor(torch.cat([column, column], dim=1))
    torch.testing.assert_close(factor, torch.cat([column, column], dim=1) / 5 / 2**0.5)


def test_the_polar_factor_of_nothing_is_nothing() -> None:
    assert polar_factor(torch.zeros(3, 2)).tolist() == [[0.0, 0.0]] * 3
    assert polar_factor(torch.zeros(3, 0)).shape == (3, 0)
