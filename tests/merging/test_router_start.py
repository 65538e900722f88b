"""Routers that are fitted to a few images: ridge regression, and what it does to an encoder."""

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from wemoe_pl.merging.base import blocks_of
from wemoe_pl.merging.router_start import RIDGES, by_router, fit_routers, ridge
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.moe.attention import WeightEnsemblingAttention as Attention
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.mixture import mixtures_of
from wemoe_pl.moe.router import Gate

TinyViT = Callable[..., nn.Module]
TASKS = ("bright", "dark", "striped")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def solved(features: Tensor, targets: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """The slow reference: centred normal equations."""
    centre, mean = features.mean(dim=0), targets.mean(dim=0)
    centred = features - centre
    gram = centred.T @ centred + penalty * torch.eye(features.shape[1], dtype=torch.float64)
    weight = torch.linalg.solve(gram, centred.T @ (targets - mean)).T
    return weight, mean - weight @ centre


def left_out(features: Tensor, targets: Tensor, penalty: float) -> float:
    """The mean squared error of fits that lack one row each, with one centre for all of them."""
    errors = []
    centre, mean = features.mean(dim=0), targets.mean(dim=0)
    for row in range(len(features)):
        others = torch.arange(len(features)) != row
        weight, bias = without_row(features, targets, others, penalty)
        errors.append(((features[row] @ weight.T + bias - targets[row]) ** 2).mean().item())
    assert centre.ndim == mean.ndim == 1
    return sum(errors) / len(errors)


def without_row(
    features: Tensor, targets: Tensor, rows: Tensor, penalty: float
) -> tuple[Tensor, Tensor]:
    """Fit some rows with a free bias: the penalty is on the weights alone."""
    ones = torch.ones(int(rows.sum()), 1, dtype=torch.float64)
    wide = torch.cat([features[rows], ones], dim=1)
    penalties = torch.full((wide.shape[1],), penalty, dtype=torch.float64)
    penalties[-1] = 0
    both = torch.linalg.solve(wide.T @ wide + penalties.diag(), wide.T @ targets[rows])
    return both[:-1].T, both[-1]


@pytest.mark.parametrize(("rows", "width"), [(30, 6), (12, 40)], ids=["tall", "wide"])
def test_the_fit_is_the_ridge_that_is_best_for_rows_left_out(rows: int, width: int) -> None:
    features, targets = drawn(rows, width) + 3, drawn(rows, 4, seed=1)
    scale = (features - features.mean(dim=0)).square().sum().item() / width
    best = min(RIDGES, key=lambda share: left_out(features, targets, share * scale))
    weight, bias = solved(features, targets, best * scale)
    found = ridge(features, targets)
    torch.testing.assert_close(found.weight, weight, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(found.bias, bias, rtol=1e-6, atol=1e-9)


def test_features_that_say_nothing_give_the_mean() -> None:
    targets = torch.eye(2, dtype=torch.float64).repeat(3, 1)
    found = ridge(torch.ones(6, 5, dtype=torch.float64), targets)
    assert not found.weight.isnan().any()
    torch.testing.assert_close(found.weight @ torch.ones(5, dtype=torch.float64) + found.bias,
                               torch.full((2,), 0.5, dtype=torch.float64))  # fmt: skip


def images(count: int, seed: int = 0) -> dict[str, Tensor]:
    """Images of tasks that nobody could take for one another."""
    noise = torch.Generator().manual_seed(seed)

    def noisy(base: Tensor) -> Tensor:
        return base + 0.3 * torch.randn(count, 3, 32, 32, generator=noise)

    stripes = torch.zeros(3, 32, 32)
    stripes[:, ::2] = 2.0
    bases = torch.ones(3, 32, 32), -torch.ones(3, 32, 32), stripes
    return {task: noisy(base) for task, base in zip(TASKS, bases, strict=True)}


def upscaled(tiny_vit: TinyViT, method: WEMoE) -> nn.Module:
    pretrained, *experts = (tiny_vit(seed) for seed in range(4))
    return method.merge(pretrained, dict(zip(TASKS, experts, strict=True)))


@torch.no_grad()
def own_weight(encoder: nn.Module, shown: dict[str, Tensor]) -> Tensor:
    """The routing weight of each image's own expert less the largest other, (mixtures, images)."""
    mixtures = [*mixtures_of(encoder).values()]
    margins = []
    for column, of_task in enumerate(shown.values()):
        for mixture in mixtures:
            mixture.record_routing = True
        encoder(of_task)
        weights = torch.stack([mixture.routing_weights for mixture in mixtures])  # type: ignore[misc]
        others = weights.clone()
        others[..., column] = -torch.inf
        margins.append(weights[..., column] - others.amax(dim=-1))
    return torch.cat(margins, dim=1)


@pytest.mark.parametrize(
    "method",
    [
        WEMoE(init_std=0.3),
        WEMoE(router_depth=1),
        WEMoE(init_std=0.3, router_width=64),
        WEMoE(init_std=0.3, attention=Dense()),
        WEMoE(init_std=0.3, gate=Gate(softmax=True, temperature=0.1, top_k=2)),
    ],
    ids=["depth 2", "depth 1", "wide", "attention", "softmax"],
)
def test_images_that_were_not_shown_are_routed_to_their_own_expert(
    method: WEMoE, tiny_vit: TinyViT
) -> None:
    torch.manual_seed(0)
    encoder = upscaled(tiny_vit, method)
    assert (own_weight(encoder, images(20, seed=1)) > 0.2).float().mean() < 0.5
    method.initialise(encoder, images(16))
    assert (own_weight(encoder, images(20, seed=1)) > 0.2).float().mean() > 0.9


def test_nothing_but_the_last_layers_of_routers_changes(tiny_vit: TinyViT) -> None:
    encoder = upscaled(tiny_vit, WEMoE()).train()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    fit_routers(encoder, images(4))
    after = encoder.state_dict()
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed == {
        f"blocks.{i}.mlp.router.out.{part}" for i in range(2) for part in ("weight", "bias")
    }
    assert encoder.training
    assert not any(module._forward_pre_hooks for module in encoder.modules())


def test_later_routers_are_fitted_to_what_earlier_ones_make_of_the_images(
    tiny_vit: TinyViT,
) -> None:
    torch.manual_seed(0)
    together, alone = (upscaled(tiny_vit, WEMoE(init_std=0.3)) for _ in range(2))
    alone.load_state_dict(together.state_dict())
    fit_routers(together, images(6))
    (fitted, last), (first, second) = (mixtures_of(one).values() for one in (together, alone))
    first.router.load_state_dict(fitted.router.state_dict())
    seen: list[Tensor] = []
    second.register_forward_pre_hook(lambda _, given: seen.append(second.router.seen(given[0])))
    with torch.no_grad():
        for of_task in images(6).values():
            alone(of_task)
    fit = ridge(torch.cat(seen).double(), torch.eye(3).double().repeat_interleave(6, 0))
    torch.testing.assert_close(last.router.out.weight.double(), fit.weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("depth", [2, 5])
def test_only_what_lies_before_a_router_runs_for_it(tiny_vit: TinyViT, depth: int) -> None:
    method = WEMoE(init_std=0.3, attention=Dense())
    pretrained, *experts = (tiny_vit(seed, depth=depth) for seed in range(4))
    encoder = method.merge(pretrained, dict(zip(TASKS, experts, strict=True)))
    blocks, mixtures = blocks_of(encoder), list(mixtures_of(encoder).values())
    ended: Counter[nn.Module] = Counter()
    for part in (*blocks, *mixtures):
        part.register_forward_hook(lambda module, *_: ended.update([module]))
    fit_routers(encoder, images(4))
    # Attention runs for the router of the MLP too. What runs once makes the next block's input.
    expected = {part: len(TASKS) for part in (*blocks, *mixtures)}
    expected |= {part: 2 * len(TASKS) for part in mixtures if isinstance(part, Attention)}
    assert ended == expected


def test_a_shared_router_is_fitted_to_all_its_blocks_at_once(tiny_vit: TinyViT) -> None:
    torch.manual_seed(0)
    encoder = upscaled(tiny_vit, WEMoE(shared_router=True, init_std=0.3))
    assert [len(mixtures) for mixtures in by_router(encoder).values()] == [2]
    fit_routers(encoder, images(16))
    assert (own_weight(encoder, images(20, seed=1)) > 0).float().mean() > 0.8
