"""Peers: whole methods written again, from the papers, and run beside ours for five steps.

Nothing of `wemoe_pl` is used below but the methods under test: models are plain dictionaries of
weights, run by `functional_call`, and every image is routed in a loop of its own.
"""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from wemoe_pl.merging.adamerging import AdaMerging
from wemoe_pl.merging.regmean import RegMean
from wemoe_pl.merging.ties import TIES
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.model.entropy import mean_entropy

Experts = dict[str, nn.Module]
Weights = dict[str, Tensor]
STEPS, BATCH, RATE = 5, 3, 0.05
HEADS = {
    task: torch.randn(16, 4, generator=torch.Generator().manual_seed(i), dtype=torch.float64)
    for i, task in enumerate(("cars", "dtd", "mnist"))
}


@pytest.fixture
def models(pretrained: nn.Module, experts: Experts) -> tuple[nn.Module, Experts]:
    doubled = {task: deepcopy(expert).double() for task, expert in experts.items()}
    return deepcopy(pretrained).double(), doubled


def batches() -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(7)
    return [
        {t: torch.randn(BATCH, 3, 32, 32, generator=generator, dtype=torch.float64) for t in HEADS}
        for _ in range(STEPS)
    ]


def difference(model: nn.Module, base: nn.Module) -> Weights:
    base_weights = dict(base.named_parameters())
    return {n: (w - base_weights[n]).detach() for n, w in model.named_parameters()}


def adam(parameters: list[Tensor], loss_of: Callable[[dict[str, Tensor]], Tensor]) -> None:
    """Five steps of Adam, written out."""
    first = [torch.zeros_like(p) for p in parameters]
    second = [torch.zeros_like(p) for p in parameters]
    for step, batch in enumerate(batches(), start=1):
        gradients = torch.autograd.grad(loss_of(batch), parameters)
        for p, g, m, v in zip(parameters, gradients, first, second, strict=True):
            m.mul_(0.9).add_(0.1 * g)
            v.mul_(0.999).add_(0.001 * g * g)
            change = (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
            p.data.sub_(RATE * change)


def entropy_of(features: Tensor, task: str) -> Tensor:
    p = torch.softmax(features @ HEADS[task], dim=-1)
    return -(p * torch.log(p)).sum(dim=-1).mean()


def ours_after_five_steps(encoder: nn.Module) -> dict[str, Tensor]:
    trained = {n: p for n, p in encoder.named_parameters() if p.requires_grad}
    optimizer = torch.optim.Adam(trained.values(), lr=RATE)
    for batch in batches():
        features = encoder(torch.cat(list(batch.values()))).split(BATCH)
        losses = [
            mean_entropy(each @ HEADS[task]) for task, each in zip(batch, features, strict=True)
        ]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        optimizer.step()
    return {name: weight.detach() for name, weight in trained.items()}


@pytest.mark.parametrize("granularity", ["task", "layer"])
def test_adamerging(models: tuple[nn.Module, Experts], granularity: str) -> None:
    pretrained, experts = models
    vectors = [difference(expert, pretrained) for expert in experts.values()]
    names = list(vectors[0])
    shape = (len(names), 3) if granularity == "layer" else (1, 3)
    coefficients = torch.full(shape, 0.3, dtype=torch.float64, requires_grad=True)

    def loss_of(batch: dict[str, Tensor]) -> Tensor:
        merged = {}
        for row, name in enumerate(names):
            c = coefficients[row if granularity == "layer" else 0]
            merged[name] = pretrained.get_parameter(name).detach() + sum(
                c[i] * vector[name] for i, vector in enumerate(vectors)
            )
        return sum(
            (entropy_of(functional_call(pretrained, merged, (x,)), t) for t, x in batch.items()),
            start=torch.zeros((), dtype=torch.float64),
        )

    adam([coefficients], loss_of)
    encoder = AdaMerging(granularity).merge(pretrained, experts)  # type: ignore[arg-type]
    [learned] = ours_after_five_steps(encoder).values()
    assert (coefficients - 0.3).abs().max() > 0.1  # it did learn
    torch.testing.assert_close(learned.reshape(shape), coefficients.detach(), rtol=1e-6, atol=1e-6)


class PeerRouter(nn.Module):
    """Linear → ReLU → linear, averaged over tokens at the very end."""

    def __init__(self, original: nn.Module):
        super().__init__()
        self.first = deepcopy(original.get_submodule("hidden"))
        self.last = deepcopy(original.get_submodule("out"))

    def forward(self, tokens: Tensor) -> Tensor:
        weights: Tensor = self.last(torch.relu(self.first(tokens))).mean(dim=0)
        return weights


def test_wemoe(models: tuple[nn.Module, Experts]) -> None:
    pretrained, experts = models
    torch.manual_seed(0)
    encoder = WEMoE().merge(pretrained, experts)
    vectors = [difference(expert, pretrained) for expert in experts.values()]
    routers = [PeerRouter(block.mlp.router) for block in encoder.blocks]  # type: ignore[union-attr]

    outside = deepcopy(pretrained).requires_grad_(False)
    for name, weight in outside.named_parameters():
        if ".mlp." not in name:
            weight.add_(0.3 * sum(vector[name] for vector in vectors))

    def forward_one(image: Tensor) -> Tensor:
        """The transformer block by block, with MLP weights made for this image."""
        x = outside._pos_embed(outside.patch_embed(image[None]))  # type: ignore[operator]
        x = outside.norm_pre(x)  # type: ignore[operator]
        for i, (block, router) in enumerate(zip(outside.blocks, routers, strict=True)):  # type: ignore[arg-type]
            x = x + block.attn(block.norm1(x))
            tokens = block.norm2(x)
            shares = router(tokens[0])
            merged = {
                name: weight
                + sum(r * v[f"blocks.{i}.mlp.{name}"] for r, v in zip(shares, vectors, strict=True))
                for name, weight in block.mlp.named_parameters()
            }
            x = x + functional_call(block.mlp, merged, (tokens,))
        features: Tensor = outside.norm(x)[0, 0]  # type: ignore[operator]
        return features

    def loss_of(batch: dict[str, Tensor]) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for task, images in batch.items():
            total = total + entropy_of(torch.stack([forward_one(x) for x in images]), task)
        return total

    peers = [p for router in routers for p in router.parameters()]
    start = [p.detach().clone() for p in peers]
    for p in peers:
        p.requires_grad_(True)
    adam(list(peers), loss_of)
    learned = list(ours_after_five_steps(encoder).values())
    assert max((a - b).abs().max().item() for a, b in zip(peers, start, strict=True)) > 0.1
    for ours, theirs in zip(learned, peers, strict=True):
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-6, atol=1e-6)


def test_ties(models: tuple[nn.Module, Experts]) -> None:
    pretrained, experts = models
    vectors = torch.stack(
        [
            torch.cat([v.flatten() for v in difference(e, pretrained).values()])
            for e in experts.values()
        ]
    )
    kept = round(0.2 * vectors.shape[1])
    trimmed = torch.zeros_like(vectors)
    for row, vector in zip(trimmed, vectors, strict=True):
        places = vector.abs().argsort(descending=True)[:kept]
        row[places] = vector[places]
    positive, negative = trimmed.clamp(min=0), -trimmed.clamp(max=0)
    wins = positive.sum(0) > negative.sum(0)
    chosen = torch.where(wins, positive, -negative)
    number = (chosen != 0).sum(0)
    mean = torch.where(number > 0, chosen.sum(0) / number.clamp(min=1), torch.zeros(1).double())
    merged = TIES(0.3, 0.2).merge(pretrained, experts)
    ours = torch.cat([w.detach().flatten() for w in merged.parameters()])
    base = torch.cat([w.detach().flatten() for w in pretrained.parameters()])
    torch.testing.assert_close(ours, base + 0.3 * mean, rtol=1e-6, atol=1e-6)


def test_regmean(models: tuple[nn.Module, Experts]) -> None:
    pretrained, experts = models
    method = RegMean(0.6)
    sums = method.start(pretrained, experts)
    stacked: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for batch in batches():
        for task, images in batch.items():
            sums.add(task, experts[task], nn.Identity(), images, torch.zeros(BATCH))
    for task, expert in experts.items():
        images = torch.cat([batch[task] for batch in batches()])
        for name, layer in expert.named_modules():
            if isinstance(layer, nn.Linear):
                hook = layer.register_forward_hook(
                    lambda m, x, y, name=name: stacked.setdefault(name, []).append(
                        (x[0].detach().flatten(0, 1), m.weight.detach())
                    )
                )
                expert(images)
                hook.remove()
    solved = sums.solve(method.merge(pretrained, experts).state_dict())
    for name, pairs in stacked.items():
        # Least squares on √0.6 X and, for what shrinking leaves, on scaled unit vectors.
        rows = [0.6**0.5 * x for x, _ in pairs]
        targets = [0.6**0.5 * x @ w.T for x, w in pairs]
        for x, w in pairs:
            scale = (0.4 * x.square().sum(0)).sqrt()
            rows.append(torch.diag(scale))
            targets.append(scale[:, None] * w.T)
        expected = torch.linalg.lstsq(torch.cat(rows), torch.cat(targets)).solution.T
        torch.testing.assert_close(solved[f"{name}.weight"], expected, rtol=1e-6, atol=1e-6)
