"""The solution against numpy's least squares, and where the equations leave it open."""

import numpy as np
import torch

from wemoe_pl.merging.normal_equations import nearest_solution


def test_it_is_the_least_squares_solution_of_all_problems_at_once() -> None:
    generator = np.random.default_rng(0)
    inputs = [generator.normal(size=(7, 4)) for _ in range(3)]
    weights = [generator.normal(size=(4, 2)) for _ in range(3)]
    outputs = [x @ w for x, w in zip(inputs, weights, strict=True)]
    expected = np.linalg.lstsq(np.concatenate(inputs), np.concatenate(outputs), rcond=None)[0]
    gram = torch.tensor(sum(x.T @ x for x in inputs))
    target = torch.tensor(sum(x.T @ y for x, y in zip(inputs, outputs, strict=True)))
    found = nearest_solution(gram, target, torch.ones(4, 2, dtype=torch.float64))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-10)


def test_what_no_input_reaches_stays_as_it_is_at_the_start() -> None:
    inputs = torch.tensor([[1.0, 2.0, 0.0]], dtype=torch.float64)
    gram, start = inputs.T @ inputs, torch.tensor([[0.5], [0.5], [9.0]], dtype=torch.float64)
    found = nearest_solution(gram, inputs.T * 5.0, start)
    assert (inputs @ found).item() == torch.tensor(5.0).double().item()
    change = found - start
    assert change[2].item() == 0
    assert torch.allclose(change[1], 2 * change[0])  # along the input, and no farther than needed
