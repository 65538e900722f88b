"""Model Stock against its formula pair by pair."""

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import nn

from wemoe_pl.merging.average import SimpleAverage
from wemoe_pl.merging.model_stock import ModelStock, interpolation_ratio

Experts = dict[str, nn.Module]


def written_out(vectors: list[np.ndarray]) -> np.ndarray:
    flat = [vector.ravel() for vector in vectors]
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in combinations(flat, 2)]
    cosine, count = max(0.0, float(np.mean(cosines))), len(vectors)
    ratio = count * cosine / (1 + (count - 1) * cosine)
    return np.asarray(ratio * np.mean(vectors, axis=0))


def test_every_tensor_is_scaled_by_its_own_angles(
    doubled: tuple[nn.Module, Experts], task_vectors: dict[str, list[np.ndarray]]
) -> None:
    base = doubled[0].state_dict()
    merged = ModelStock().merge(*doubled).state_dict()
    for key, vectors in task_vectors.items():
        expected = base[key].numpy() + written_out(vectors).reshape(base[key].shape)
        np.testing.assert_allclose(merged[key].numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("vectors", "ratio"),
    [
        ([[1.0, 0.0]], 1.0),
        ([[1.0, 0.0], [3.0, 0.0]], 1.0),
        ([[1.0, 0.0], [0.0, 2.0]], 0.0),
        ([[1.0, 0.0], [-1.0, 1.0]], 0.0),  # they oppose each other
        ([[2.0, 0.0], [1.0, 3**0.5]], 2 / 3),  # 60 degrees
        ([[0.0, 0.0], [1.0, 0.0]], 0.0),
        ([[0.0, 0.0], [0.0, 0.0]], 0.0),
    ],
)
def test_the_ratio_follows_from_the_angle(vectors: list[list[float]], ratio: float) -> None:
    assert interpolation_ratio(torch.tensor(vectors)) == pytest.approx(ratio, abs=1e-6)


def test_equal_experts_are_averaged(doubled: tuple[nn.Module, Experts]) -> None:
    equal = doubled[0], dict.fromkeys("ab", doubled[1]["cars"])
    average = SimpleAverage().merge(*equal).state_dict()
    torch.testing.assert_close(ModelStock().merge(*equal).state_dict(), average)
    assert ModelStock().label == "Model Stock"
