"""RegMean++ against a vision transformer that is written out, block by block, in float64."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wemoe_pl.merging.regmean import RegMean
from wemoe_pl.merging.regmean_plus_plus import RegMeanPlusPlus

Experts = dict[str, nn.Module]
Models = tuple[nn.Module, Experts]
Weights = dict[str, Tensor]
LAYERS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")


def images_of(task: str, count: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(len(task))
    return torch.randn(count, 3, 32, 32, generator=generator, dtype=torch.float64)


def solved_by(method: RegMean, models: Models, batch: int = 5) -> Weights:
    pretrained, experts = models
    sums = method.start(pretrained, experts)
    for task, expert in experts.items():
        for images in images_of(task).split(batch):
            sums.add(task, expert, nn.Identity(), images, torch.full((len(images),), -1))
    return sums.solve(method.merge(pretrained, experts).state_dict())


def block_of(weights: Weights, number: int, tokens: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """A block of two heads of eight: what it gives, and what its linear layers are given."""
    own = {k.split(".", 2)[2]: w for k, w in weights.items() if k.startswith(f"blocks.{number}.")}

    def linear(name: str, x: Tensor) -> Tensor:
        inputs[name] = x.reshape(-1, x.shape[-1])
        return x @ own[f"{name}.weight"].T + own[f"{name}.bias"]

    inputs: dict[str, Tensor] = {}
    x = F.layer_norm(tokens, (16,), own["norm1.weight"], own["norm1.bias"], 1e-6)
    q, k, v = linear("attn.qkv", x).chunk(3, dim=2)
    heads = []
    for i in (slice(0, 8), slice(8, 16)):
        scores = (q[..., i] @ k[..., i].transpose(1, 2)) / 8**0.5
        heads.append(scores.softmax(dim=2) @ v[..., i])
    tokens = tokens + linear("attn.proj", torch.cat(heads, dim=2))
    x = F.layer_norm(tokens, (16,), own["norm2.weight"], own["norm2.bias"], 1e-6)
    return tokens + linear("mlp.fc2", F.gelu(linear("mlp.fc1", x))), inputs


def embedded(weights: Weights, images: Tensor) -> Tensor:
    patches = images.unfold(2, 16, 16).unfold(3, 16, 16).permute(0, 2, 3, 1, 4, 5)
    kernel = weights["patch_embed.proj.weight"].flatten(1)
    tokens = patches.reshape(len(images), 4, -1) @ kernel.T + weights["patch_embed.proj.bias"]
    start = weights["cls_token"].expand(len(images), -1, -1)
    return torch.cat([start, tokens], dim=1) + weights["pos_embed"]


def written_out(models: Models, off_diagonal: float) -> Weights:
    tuned = {task: expert.state_dict() for task, expert in models[1].items()}
    merged = {k: sum(w[k] for w in tuned.values()) / len(tuned) for k in models[0].state_dict()}
    tokens = {task: embedded(merged, images_of(task)) for task in tuned}
    solved = {}
    for number in (0, 1):
        left = {name: torch.zeros(1, dtype=torch.float64) for name in LAYERS}
        right = dict(left)
        for task, weights in tuned.items():
            _, inputs = block_of(weights, number, tokens[task])
            for name in LAYERS:
                gram = inputs[name].T @ inputs[name]
                gram = off_diagonal * gram + (1 - off_diagonal) * torch.diag(torch.diag(gram))
                left[name] = left[name] + gram
                right[name] = right[name] + gram @ weights[f"blocks.{number}.{name}.weight"].T
        for name in LAYERS:
            key = f"blocks.{number}.{name}.weight"
            solved[key] = merged[key] = torch.linalg.solve(left[name], right[name]).T
        tokens = {task: block_of(merged, number, x)[0] for task, x in tokens.items()}
    return solved


@pytest.mark.parametrize("off_diagonal", [0.95, 0.3])
def test_blocks_solve_the_normal_equations_of_merged_inputs(
    off_diagonal: float, doubled: Models
) -> None:
    solved = solved_by(RegMeanPlusPlus(off_diagonal), doubled)
    expected = written_out(doubled, off_diagonal)
    assert solved.keys() == expected.keys()
    for key, weight in expected.items():
        torch.testing.assert_close(solved[key], weight, rtol=1e-6, atol=1e-7)


def test_only_the_first_layer_of_the_first_block_is_that_of_regmean(doubled: Models) -> None:
    """What it is fed goes through no block, but through the averaged embedding."""
    shared = deepcopy(doubled)
    for expert in shared[1].values():
        for key in ("cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"):
            expert.get_parameter(key).data.copy_(shared[0].get_parameter(key).data)
    ours, theirs = (solved_by(m, shared) for m in (RegMeanPlusPlus(0.9), RegMean(0.9)))
    first = [f"blocks.0.{name}.weight" for name in LAYERS]
    for key in theirs:
        assert torch.allclose(ours[key], theirs[key]) == (key in first), key


def test_linear_layers_behind_the_blocks_are_merged_on_what_the_blocks_give(
    tiny_vit: Callable[..., nn.Module],
) -> None:
    pretrained = tiny_vit(0, num_classes=6).double()
    experts = {
        task: tiny_vit(i, num_classes=6).double() for i, task in enumerate(("a", "bc"), start=1)
    }
    solved = solved_by(RegMeanPlusPlus(0.5), (pretrained, experts))
    merged = deepcopy(pretrained)
    average = RegMeanPlusPlus().merge(pretrained, experts).state_dict()
    merged.load_state_dict({**average, **solved, "head.weight": average["head.weight"]})
    left = right = torch.zeros(1, dtype=torch.float64)
    for task, expert in experts.items():
        x = merged.forward_head(merged.forward_features(images_of(task)), pre_logits=True)  # type: ignore[operator]
        gram = (x.T @ x + torch.diag(torch.diag(x.T @ x))) / 2
        left = left + gram
        right = right + gram @ expert.get_parameter("head.weight").T
    expected = torch.linalg.solve(left, right).T
    torch.testing.assert_close(solved["head.weight"], expected, rtol=1e-5, atol=1e-6)


def test_one_expert_equal_ones_batches_and_order(doubled: Models) -> None:
    pretrained, experts = doubled
    method = RegMeanPlusPlus()
    cars = experts["cars"].state_dict()
    for chosen in ({"cars": experts["cars"]}, {"a": experts["cars"], "bcd": experts["cars"]}):
        for key, weight in solved_by(method, (pretrained, chosen)).items():
            torch.testing.assert_close(weight, cars[key], rtol=1e-5, atol=1e-6)
    there = solved_by(method, doubled)
    back = solved_by(method, (pretrained, dict(reversed(experts.items()))), batch=12)
    torch.testing.assert_close(there, back, rtol=1e-6, atol=1e-7)


def test_experts_are_left_as_they_are_and_no_hook_stays(doubled: Models) -> None:
    before = deepcopy(doubled)
    solved_by(RegMeanPlusPlus(), doubled)
    for model, original in zip((doubled[0], *doubled[1].values()),
                               (before[0], *before[1].values()), strict=True):  # fmt: skip
        torch.testing.assert_close(model.state_dict(), original.state_dict(), rtol=0, atol=0)
        assert not any(module._forward_pre_hooks for module in model.modules())


def test_its_name_and_factor_are_the_published_ones() -> None:
    assert (RegMeanPlusPlus().label, RegMeanPlusPlus().off_diagonal) == ("RegMean++", 0.95)
