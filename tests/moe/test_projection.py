"""The router by projections against a loop over samples and experts in plain Python."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from wemoe_pl.errors import MergeError
from wemoe_pl.moe.projection import ProjectionRouter

B, N, D, T, K = 40, 5, 8, 6, 2


def random_x(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def rows(count: int = T) -> Tensor:
    return torch.stack([torch.linalg.qr(random_x(D, K, seed=i))[0].T for i in range(count)])


def written_out(residuals: list[float], temperature: float, threshold: float, most: int) -> Tensor:
    """The routing weights of one sample."""
    mean = sum(residuals) / len(residuals)
    deviation = math.sqrt(sum((r - mean) ** 2 for r in residuals) / (len(residuals) - 1))
    powers = [math.exp((mean - r) / (deviation + 1e-6) / temperature) for r in residuals]
    shares = [power / sum(powers) for power in powers]
    ranked = sorted(range(len(shares)), key=lambda i: (-shares[i], i))
    chosen = [i for i in ranked if shares[i] > threshold][:most] or ranked[:1]
    kept = [s if i in chosen else 0.0 for i, s in enumerate(shares)]
    return torch.tensor(kept, dtype=torch.float64)


@pytest.mark.parametrize("has_class_token", [True, False])
@pytest.mark.parametrize(
    ("temperature", "threshold", "most"), [(1.0, 0.2, 3), (0.3, 0.1, 2), (2.0, 0.0, 9)]
)
def test_weights_match_a_loop_over_samples(
    temperature: float, threshold: float, most: int, has_class_token: bool
) -> None:
    x, right = random_x(B, N, D, seed=9), rows()
    router = ProjectionRouter(right, has_class_token, temperature, threshold, most)
    found = router(x)
    assert found.shape == (B, T)
    numbers = []
    for b in range(B):
        z = x[b, 0].numpy() if has_class_token else x[b].numpy().sum(axis=0) / N
        spans = [right[t].numpy() for t in range(T)]
        residuals = [float(np.linalg.norm(z - v.T @ (v @ z))) for v in spans]
        expected = written_out(residuals, temperature, threshold, most)
        torch.testing.assert_close(found[b], expected, rtol=1e-9, atol=1e-9)
        numbers.append(int((expected > 0).sum()))
    assert threshold == 0 or len(set(numbers)) > 1


def test_a_sample_goes_to_the_expert_in_whose_span_it_lies() -> None:
    right = rows()
    inside = (random_x(T, K, seed=3)[:, None] @ right)[:, 0]
    chosen = ProjectionRouter(right)(inside[:, None])
    assert chosen.argmax(dim=1).tolist() == [*range(T)]


def test_one_expert_is_always_chosen() -> None:
    assert ProjectionRouter(rows(1))(random_x(B, N, D)).tolist() == [[1.0]] * B


def test_of_equal_experts_the_first_are_chosen() -> None:
    right = rows(1).expand(4, K, D)
    weights = ProjectionRouter(right, threshold=0.2, most_experts=2)(random_x(B, N, D))
    torch.testing.assert_close(weights, torch.tensor([[0.25, 0.25, 0, 0]] * B).double())
    weights = ProjectionRouter(right, threshold=0.3)(random_x(B, N, D))
    assert (weights > 0).tolist() == [[True, False, False, False]] * B


def test_an_expert_without_singular_vectors_is_not_chosen() -> None:
    right = rows(3)
    right[1] = 0
    assert not ProjectionRouter(right, threshold=0.0)(random_x(B, N, D)).argmax(dim=1).eq(1).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, r"^temperature is 0\.0: choose a number above 0\.$"),
        ({"temperature": math.nan}, r"^temperature is nan: choose a number above 0\.$"),
        ({"threshold": 1.5}, r"^threshold is 1\.5: choose a routing weight from 0 to 1\.$"),
        ({"most_experts": 0}, r"^most_experts is 0: choose a number from 1\.$"),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(MergeError, match=message):
        ProjectionRouter(rows(), **options)  # type: ignore[arg-type]
