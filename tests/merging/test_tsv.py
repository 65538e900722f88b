"""TSV-M against the paper's steps in numpy, with inverse square roots for the polar factors."""

import numpy as np
import pytest
import torch
from torch import nn

from wemoe_pl.merging.tsv import TSVM

Experts = dict[str, nn.Module]
Vectors = dict[str, list[np.ndarray]]


def orthogonalised(columns: np.ndarray) -> np.ndarray:
    """X (XᵀX)^(−1/2), which is the polar factor of independent columns."""
    values, vectors = np.linalg.eigh(columns.T @ columns)
    return columns @ (vectors / np.sqrt(values)) @ vectors.T


def written_out(matrices: list[np.ndarray]) -> np.ndarray:
    kept = min(matrices[0].shape) // len(matrices)
    lefts, values, rights = [], [], []
    for matrix in matrices:
        squared, right = np.linalg.eigh(matrix.T @ matrix)
        for i in np.argsort(squared)[::-1][:kept]:
            values.append(np.sqrt(squared[i]))
            rights.append(right[:, i])
            lefts.append(matrix @ right[:, i] / values[-1])
    left, right = orthogonalised(np.array(lefts).T), orthogonalised(np.array(rights).T)
    return sum(
        (v * np.outer(left[:, i], right[:, i]) for i, v in enumerate(values)),
        start=np.zeros_like(matrices[0]),
    )


@pytest.mark.parametrize("alpha", [1.0, 0.7])
def test_matrices_are_those_of_the_reference(
    alpha: float, doubled: tuple[nn.Module, Experts], task_vectors: Vectors
) -> None:
    pretrained, experts = doubled
    found = TSVM(alpha).merge(pretrained, experts).state_dict()
    keys = [k for k in found if found[k].ndim == 2] + ["pos_embed"]
    assert len(keys) == 9  # four in each of two blocks
    for key in keys:
        expected = pretrained.state_dict()[key].numpy() + alpha * written_out(task_vectors[key])
        np.testing.assert_allclose(found[key].numpy(), expected, rtol=1e-8, atol=1e-10)


def test_one_expert_is_returned(doubled: tuple[nn.Module, Experts]) -> None:
    pretrained, experts = doubled
    found = TSVM().merge(pretrained, {"cars": experts["cars"]})
    torch.testing.assert_close(found.state_dict(), experts["cars"].state_dict())


def test_equal_experts_are_the_truncated_one() -> None:
    matrix = torch.randn(9, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    left, values, right = np.linalg.svd(matrix.numpy())
    expected = left[:, :3] * values[:3] @ right[:3]
    found = TSVM().combine(torch.stack([matrix, matrix]))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_orthogonal_task_vectors_of_low_rank_are_added() -> None:
    generator = torch.Generator().manual_seed(2)
    left = torch.linalg.qr(torch.randn(12, 8, generator=generator, dtype=torch.float64)).Q
    right = torch.linalg.qr(torch.randn(9, 8, generator=generator, dtype=torch.float64)).Q
    matrices = torch.stack([left[:, i : i + 2] @ right[:, i : i + 2].T for i in (0, 2, 4, 6)])
    torch.testing.assert_close(TSVM().combine(matrices), matrices.sum(dim=0))


def test_with_more_experts_than_columns_each_keeps_one_direction() -> None:
    matrices = torch.randn(7, 4, 3, generator=torch.Generator().manual_seed(3))
    found = TSVM().combine(matrices)
    assert found.isfinite().all()
    assert torch.linalg.matrix_rank(found) == 3


def test_its_name_is_the_published_one() -> None:
    assert TSVM().label == "TSV-M"
    assert not TSVM().split_qkv  # as in the code of its authors
