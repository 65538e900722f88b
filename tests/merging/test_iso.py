"""Iso-C and Iso-CTS against their definitions in numpy, by eigenvectors of Gram matrices."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.iso import IsoC, IsoCTS

Experts = dict[str, nn.Module]
Vectors = dict[str, list[np.ndarray]]
Rule = Callable[[list[np.ndarray]], np.ndarray]


def inverse_root(gram: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(gram)
    return (vectors / np.sqrt(values)) @ vectors.T


def leading(matrix: np.ndarray, count: int) -> list[tuple[np.ndarray, float, np.ndarray]]:
    """Triples (left, singular value, right) of the largest singular values."""
    squared, left = np.linalg.eigh(matrix @ matrix.T)
    chosen = [left[:, i] for i in np.argsort(squared)[::-1][:count]]
    values = [float(np.linalg.norm(matrix.T @ column)) for column in chosen]
    return [(u, s, matrix.T @ u / s) for u, s in zip(chosen, values, strict=True)]


def iso_c(matrices: list[np.ndarray]) -> np.ndarray:
    total = sum(matrices[1:], start=matrices[0])
    if total.shape[0] < total.shape[1]:
        return iso_c([matrix.T for matrix in matrices]).T
    gram = total.T @ total
    mean = np.sqrt(np.linalg.eigvalsh(gram)).mean()
    return mean * total @ inverse_root(gram)


def iso_cts(matrices: list[np.ndarray], common: float = 0.8) -> np.ndarray:
    """The order of steps of the paper: the number of directions, the two kinds, and the mean."""
    size, tasks = min(matrices[0].shape), len(matrices)
    of_each = round((size - int(size * common)) / tasks)
    found = leading(sum(matrices[1:], start=matrices[0]), size - of_each * tasks)
    projector = sum(np.outer(u, u) for u, _, _ in found)
    for matrix in matrices:
        found += leading(matrix - projector @ matrix, of_each)
    left = np.array([u for u, _, _ in found]).T
    right = np.array([v for _, _, v in found]).T
    factors = [x @ inverse_root(x.T @ x) for x in (left, right)]
    return np.mean([s for _, s, _ in found]) * factors[0] @ factors[1].T


@pytest.mark.parametrize(
    ("method", "reference", "alpha"),
    [
        (IsoC(), iso_c, 1.0),
        (IsoC(1.5), iso_c, 1.5),
        (IsoCTS(), iso_cts, 1.0),
        (IsoCTS(1.2, common=0.4), lambda matrices: iso_cts(matrices, 0.4), 1.2),
    ],
)
def test_matrices_are_those_of_the_reference(
    method: IsoC | IsoCTS,
    reference: Rule,
    alpha: float,
    doubled: tuple[nn.Module, Experts],
    task_vectors: Vectors,
) -> None:
    pretrained, experts = doubled
    found = method.merge(pretrained, experts).state_dict()
    for key in [k for k in found if found[k].ndim == 2] + ["pos_embed"]:
        expected = pretrained.state_dict()[key].numpy() + alpha * reference(task_vectors[key])
        np.testing.assert_allclose(found[key].numpy(), expected, rtol=1e-7, atol=1e-9)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("method", [IsoC(), IsoCTS(), IsoCTS(common=0.0), IsoCTS(common=0.3)])
@pytest.mark.parametrize("count", [1, 2, 3, 8, 11, 30])
def test_all_singular_values_are_equal(method: IsoC | IsoCTS, count: int) -> None:
    values = torch.linalg.svdvals(method.combine(random(count, 15, 11)))
    torch.testing.assert_close(values, values.mean().expand(11))


def test_one_expert_keeps_its_directions_and_the_sum_of_its_singular_values() -> None:
    matrix = random(1, 8, 6)
    left, values, right = torch.linalg.svd(matrix[0], full_matrices=False)
    torch.testing.assert_close(IsoC().combine(matrix), values.mean() * left @ right)


def test_equal_experts_are_as_one_that_is_as_many_times_as_large() -> None:
    matrix = random(1, 8, 6)
    for method in (IsoC(), IsoCTS(common=1.0)):
        expected = 3 * method.combine(matrix)
        torch.testing.assert_close(method.combine(matrix.repeat(3, 1, 1)), expected)


def test_with_too_many_experts_for_directions_of_their_own_it_is_iso_c() -> None:
    matrices = random(8, 15, 11)  # a fifth of 11 directions, shared by 8
    torch.testing.assert_close(IsoCTS().combine(matrices), IsoC().combine(matrices))
    few = matrices[:4]
    assert not torch.allclose(IsoCTS().combine(few), IsoC().combine(few))


def test_directions_in_which_nothing_moved_stay_still() -> None:
    matrices = random(2, 9, 3) @ random(3, 7)
    merged = IsoC().combine(matrices)
    assert torch.linalg.matrix_rank(merged) == 3
    values = torch.linalg.svdvals(matrices.sum(dim=0))
    torch.testing.assert_close(torch.linalg.svdvals(merged)[:3], (values.sum() / 7).expand(3))


def test_names_and_layout_are_those_of_the_authors() -> None:
    assert (IsoC().label, IsoCTS().label) == ("Iso-C", "Iso-CTS")
    assert not IsoC().split_qkv
    assert not IsoCTS().split_qkv


@pytest.mark.parametrize("common", [-0.1, 1.2, float("nan")])
def test_a_share_out_of_range_is_refused(common: float) -> None:
    with pytest.raises(MergeError, match=rf"common is {common}: choose the share of common"):
        IsoCTS(common=common)
