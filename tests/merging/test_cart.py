"""CART against its formula in numpy, by projections on leading eigenvectors."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.average import SimpleAverage
from wemoe_pl.merging.cart import CART

Experts = dict[str, nn.Module]
Vectors = dict[str, list[np.ndarray]]


def written_out(
    base: np.ndarray, matrices: list[np.ndarray], alpha: float, rank: int
) -> np.ndarray:
    """From the experts themselves: the projection of each θ_i − θ̄ on its leading directions."""
    tuned = [base + matrix for matrix in matrices]
    mean = sum(tuned[1:], start=tuned[0]) / len(tuned)
    merged = mean.copy()
    for expert in tuned:
        centred = expert - mean
        values, vectors = np.linalg.eigh(centred.T @ centred)
        chosen = vectors[:, np.argsort(values)[::-1][:rank]]
        merged += alpha * centred @ chosen @ chosen.T
    return merged


@pytest.mark.parametrize(("alpha", "ratio", "ranks"), [(2.3, 0.16, (3, 1)), (0.5, 0.5, (8, 3))])
def test_matrices_are_those_of_the_reference(
    alpha: float,
    ratio: float,
    ranks: tuple[int, int],
    doubled: tuple[nn.Module, Experts],
    task_vectors: Vectors,
) -> None:
    pretrained, experts = doubled
    found = CART(alpha, rank_ratio=ratio).merge(pretrained, experts).state_dict()
    for key in [k for k in found if found[k].ndim == 2] + ["pos_embed"]:
        base = pretrained.state_dict()[key].numpy().reshape(task_vectors[key][0].shape)
        rank = ranks[key == "pos_embed"]  # of 16 and of 5
        expected = written_out(base, task_vectors[key], alpha, rank)
        np.testing.assert_allclose(
            found[key].numpy().reshape(base.shape), expected, rtol=1e-8, atol=1e-9
        )


@pytest.mark.parametrize("method", [CART(rank_ratio=1.0), CART(alpha=0.0)])
def test_at_full_rank_or_without_alpha_it_is_the_average(
    method: CART, doubled: tuple[nn.Module, Experts]
) -> None:
    average = SimpleAverage().merge(*doubled)
    torch.testing.assert_close(method.merge(*doubled).state_dict(), average.state_dict())


def test_one_expert_and_equal_ones_are_returned(doubled: tuple[nn.Module, Experts]) -> None:
    pretrained, experts = doubled
    for names in ("a", "abcd"):
        merged = CART().merge(pretrained, dict.fromkeys(names, experts["cars"]))
        torch.testing.assert_close(merged.state_dict(), experts["cars"].state_dict())


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_a_rank_that_does_not_divide_is_rounded_up() -> None:
    matrices = random(2, 7, 11)
    added = CART(rank_ratio=0.16).combine(matrices) - matrices.mean(dim=0)
    twice = CART(rank_ratio=2 / 7).combine(matrices) - matrices.mean(dim=0)
    torch.testing.assert_close(added, twice)


def test_the_settings_are_the_published_ones() -> None:
    assert (CART().alpha, CART().rank_ratio, CART().split_qkv) == (2.3, 0.16, False)


@pytest.mark.parametrize("ratio", [0.0, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused(ratio: float) -> None:
    with pytest.raises(MergeError, match=rf"rank_ratio is {ratio}: choose the share of singular"):
        CART(rank_ratio=ratio)
