"""WUDI against gradient descent on its objective, and against its formula row by row in numpy."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.wudi import WUDI

Experts = dict[str, nn.Module]
Vectors = dict[str, list[np.ndarray]]


def written_out(matrices: list[np.ndarray], ridge: float) -> np.ndarray:
    """Each row by a linear system of its own."""
    rows, columns = matrices[0].shape
    grams = [m.T @ m / np.sum(m * m) for m in matrices]
    system = sum(grams[1:], start=grams[0]) + ridge * np.eye(columns)
    merged = np.zeros((rows, columns))
    for i in range(rows):
        right = sum(g @ m[i] for g, m in zip(grams, matrices, strict=True))
        merged[i] = np.linalg.solve(system, right)
    return merged


@pytest.mark.parametrize(("alpha", "ridge"), [(1.0, 1e-8), (0.8, 0.05)])
def test_linear_layers_are_those_of_the_reference(
    alpha: float, ridge: float, doubled: tuple[nn.Module, Experts], task_vectors: Vectors
) -> None:
    pretrained, experts = doubled
    found = WUDI(alpha, ridge=ridge).merge(pretrained, experts).state_dict()
    base = pretrained.state_dict()
    for key in [k for k in found if found[k].ndim == 2]:
        expected = base[key].numpy() + alpha * written_out(task_vectors[key], ridge)
        np.testing.assert_allclose(found[key].numpy(), expected, rtol=1e-5, atol=1e-6)
    mean = sum(task_vectors["pos_embed"]) / 3  # it is fed nothing, and is averaged
    np.testing.assert_allclose((found["pos_embed"] - base["pos_embed"])[0], alpha * mean)


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def objective(merged: Tensor, matrices: Tensor) -> Tensor:
    interference = (merged - matrices) @ matrices.mT
    return (interference.square().sum(dim=(1, 2)) / matrices.square().sum(dim=(1, 2))).sum()


def test_it_is_where_gradient_descent_on_the_objective_ends() -> None:
    matrices = random(3, 6, 4)
    merged = matrices.sum(dim=0).requires_grad_()
    optimizer = torch.optim.LBFGS([merged], max_iter=500, tolerance_grad=1e-12)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = objective(merged, matrices)
        loss.backward()
        return loss

    optimizer.step(closure)
    torch.testing.assert_close(WUDI().combine(matrices), merged.detach(), rtol=1e-4, atol=1e-5)


def test_one_expert_and_equal_ones_are_returned(doubled: tuple[nn.Module, Experts]) -> None:
    pretrained, experts = doubled
    for names in ("a", "abcd"):
        merged = WUDI().merge(pretrained, dict.fromkeys(names, experts["cars"]))
        expected = experts["cars"].state_dict()
        torch.testing.assert_close(merged.state_dict(), expected, rtol=1e-5, atol=1e-5)


def test_task_vectors_of_other_inputs_are_added() -> None:
    first, second = random(5, 8), random(5, 8, seed=1)
    first[:, 4:], second[:, :4] = 0, 0
    matrices = torch.stack([first, second])
    torch.testing.assert_close(WUDI().combine(matrices), first + second, rtol=1e-6, atol=1e-6)


def test_the_size_of_a_task_vector_does_not_weigh_its_inputs_down() -> None:
    """Of two experts one of which moved a hundred times as far, both are heard."""
    matrices = random(2, 6, 4) * torch.tensor([1.0, 0.01], dtype=torch.float64)[:, None, None]
    scaled = objective(WUDI().combine(matrices), matrices)
    assert scaled < objective(matrices[0], matrices)
    assert scaled < objective(matrices.sum(dim=0), matrices)


def test_a_ridge_holds_it_back() -> None:
    matrices = random(3, 6, 4)
    sizes = [WUDI(ridge=ridge).combine(matrices).norm() for ridge in (0.0, 0.1, 1.0, 1e9)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 1e-7


@pytest.mark.parametrize("ridge", [-1.0, float("nan"), float("inf")])
def test_a_ridge_out_of_range_is_refused(ridge: float) -> None:
    with pytest.raises(MergeError, match=rf"ridge is {ridge}: choose what is added"):
        WUDI(ridge=ridge)
