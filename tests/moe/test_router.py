"""The router and its gate, against written-out numbers."""

import math

import pytest
import torch

from wemoe_pl.errors import MergeError
from wemoe_pl.moe.router import Gate, Router

D, T = 6, 3
DEPTHS = pytest.mark.parametrize("depth", [0, 1, 2])
WIDE = 16
SCORES = [[2.0, -1.0, 0.5], [0.0, 0.25, 3.0]]


def test_router_weights_start_normal_with_deviation_one_hundredth() -> None:
    torch.manual_seed(0)
    router = Router(dim=256, num_experts=64)
    assert router.hidden is not None
    for weight in (router.hidden.weight, router.out.weight):
        assert weight.mean().item() == pytest.approx(0, abs=3e-4)
        assert weight.std().item() == pytest.approx(0.01, rel=0.02)
        within_one_deviation = (weight.abs() < 0.01).float().mean().item()
        assert within_one_deviation == pytest.approx(0.683, abs=0.01)  # uniform: 0.577


@DEPTHS
def test_the_last_bias_starts_at_lambda_and_the_hidden_one_at_zero(depth: int) -> None:
    router = Router(D, T, init_lambda=0.4, depth=depth)
    starts = {0: {"weights": 0.4}, 1: {"out.bias": 0.4}, 2: {"hidden.bias": 0.0, "out.bias": 0.4}}
    for name, start in starts[depth].items():
        torch.testing.assert_close(
            router.get_parameter(name).data, torch.full_like(router.get_parameter(name), start)
        )


@pytest.mark.parametrize(("depth", "count"), [(0, T), (1, D * T + T), (2, D * D + D + D * T + T)])
def test_a_router_has_the_published_number_of_parameters(depth: int, count: int) -> None:
    assert sum(weight.numel() for weight in Router(D, T, depth=depth).parameters()) == count


def test_a_wider_hidden_layer_is_one_token_by_token() -> None:
    torch.manual_seed(0)
    router = Router(D, T, init_std=0.5, width=WIDE).double()
    counts = [weight.numel() for weight in router.parameters()]
    assert counts == [D * WIDE, WIDE, WIDE * T, T]
    assert router.hidden is not None
    x = torch.randn(4, 5, D, dtype=torch.float64)
    tokens = [
        [router.out.weight @ (router.hidden.weight @ token).clamp(min=0) for token in sample]
        for sample in x
    ]
    means = torch.stack([torch.stack(sample).mean(dim=0) for sample in tokens])
    torch.testing.assert_close(router(x), means + router.out.bias)


@pytest.mark.parametrize(
    ("depth", "width", "message"),
    [
        (2, 0, "router_width is 0: give a number of hidden units from 1."),
        (1, 8, "router_width is 8, and a router of depth 1 has no hidden layer"),
        (3, None, "router_depth is 3: choose 0, 1 or 2"),
    ],
)
def test_a_form_that_a_router_cannot_have_is_refused(
    depth: int, width: int | None, message: str
) -> None:
    with pytest.raises(MergeError, match=message):
        Router(D, T, depth=depth, width=width)


def softmax(scores: list[float], temperature: float) -> list[float]:
    powers = [math.exp(score / temperature) for score in scores]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize(
    ("gate", "expected"),
    [
        (Gate(), SCORES),
        (Gate(softmax=True), [softmax(row, 1.0) for row in SCORES]),
        (Gate(softmax=True, temperature=0.2), [softmax(row, 0.2) for row in SCORES]),
        (Gate(top_k=1), [[2.0, 0.0, 0.0], [0.0, 0.0, 3.0]]),
        (Gate(top_k=2), [[2.0, 0.0, 0.5], [0.0, 0.25, 3.0]]),
        (Gate(top_k=9), SCORES),
        (Gate(softmax=True, top_k=1), [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
    ],
)
def test_a_gate_makes_routing_weights_of_scores(gate: Gate, expected: list[list[float]]) -> None:
    weights = gate(torch.tensor(SCORES, dtype=torch.float64))
    torch.testing.assert_close(weights, torch.tensor(expected, dtype=torch.float64))


def test_the_largest_shares_sum_to_one() -> None:
    first, _, third = softmax([2.0, -math.inf, 0.5], 0.5)
    weights = Gate(softmax=True, temperature=0.5, top_k=2)(torch.tensor(SCORES[:1]))
    torch.testing.assert_close(weights, torch.tensor([[first, 0.0, third]]))


def test_only_the_experts_that_are_kept_have_gradients() -> None:
    scores = torch.tensor(SCORES, requires_grad=True)
    Gate(top_k=2)(scores).sum().backward()
    assert scores.grad is not None
    assert scores.grad.tolist() == [[1, 0, 1], [0, 1, 1]]


@DEPTHS
def test_a_softmax_of_equal_scores_starts_at_one_share_per_expert(depth: int) -> None:
    router = Router(D, T, init_lambda=0.3, depth=depth, init_std=0.0, gate=Gate(softmax=True))
    torch.testing.assert_close(router(torch.ones(2, 5, D)), torch.full((2, T), 1 / T))


def test_the_gate_comes_after_the_mean_over_tokens() -> None:
    torch.manual_seed(0)
    plain, gated = Router(D, T, init_std=1.0), Router(D, T, gate=Gate(softmax=True, top_k=2))
    gated.load_state_dict(plain.state_dict())
    x = torch.randn(4, 5, D)
    torch.testing.assert_close(gated(x), gated.gate(plain(x)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"softmax": True, "temperature": 0.0}, "temperature of a gate is 0.0: give one above 0."),
        ({"softmax": True, "temperature": math.nan}, "temperature of a gate is nan"),
        ({"temperature": 0.5}, "but only a softmax has a temperature: set `softmax: true`"),
        ({"top_k": 0}, "top_k of a gate is 0: give a number of experts from 1."),
    ],
)
def test_options_of_a_gate_that_mean_nothing_are_refused(
    options: dict[str, float], message: str
) -> None:
    with pytest.raises(MergeError, match=message):
        Gate(**options)  # type: ignore[arg-type]
