"""RegMean against normal equations that are written out, in float64."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.regmean import RegMean

Experts = dict[str, nn.Module]
Models = tuple[nn.Module, Experts]
HEAD = nn.Identity()


@pytest.fixture
def models(pretrained: nn.Module, experts: Experts) -> Models:
    doubled = {task: deepcopy(expert).double() for task, expert in experts.items()}
    return deepcopy(pretrained).double(), doubled


def images_of(task: str, count: int = 40) -> Tensor:
    generator = torch.Generator().manual_seed(len(task))
    return torch.randn(count, 3, 32, 32, generator=generator, dtype=torch.float64)


def merged(
    models: Models, off_diagonal: float, count: int = 40, batch: int = 16
) -> dict[str, Tensor]:
    pretrained, experts = models
    method = RegMean(off_diagonal)
    sums = method.start(pretrained, experts)
    for task, expert in experts.items():
        for images in images_of(task, count).split(batch):
            sums.add(task, expert, HEAD, images, torch.full((len(images),), -1))
    return sums.solve(method.merge(pretrained, experts).state_dict())


def inputs_of(expert: nn.Module, name: str, images: Tensor) -> Tensor:
    """What an expert feeds to one of its layers, (N, d)."""
    seen: list[Tensor] = []
    layer = expert.get_submodule(name)
    hook = layer.register_forward_hook(lambda _, given, __: seen.append(given[0].detach()))
    expert(images)
    hook.remove()
    return seen[0].reshape(-1, seen[0].shape[-1])


@pytest.mark.parametrize("off_diagonal", [0.0, 0.6, 1.0])
def test_linear_layers_solve_the_normal_equations(models: Models, off_diagonal: float) -> None:
    _, experts = models
    solved = merged(models, off_diagonal)
    linear = [n for n, m in experts["cars"].named_modules() if isinstance(m, nn.Linear)]
    assert set(solved) == {f"{name}.weight" for name in linear}
    for name in linear:
        left = right = torch.zeros(1, dtype=torch.float64)
        for task, expert in experts.items():
            x = inputs_of(expert, name, images_of(task))
            gram = x.T @ x
            shrunk = off_diagonal * gram + (1 - off_diagonal) * torch.diag(torch.diag(gram))
            left = left + shrunk
            right = right + shrunk @ expert.get_parameter(f"{name}.weight").T
        expected = torch.linalg.solve(left, right).T
        torch.testing.assert_close(solved[f"{name}.weight"], expected, rtol=1e-6, atol=1e-8)


def test_the_outputs_of_experts_are_reproduced_better_than_by_the_average(models: Models) -> None:
    pretrained, experts = models
    solved = merged(models, 1.0)
    averages = RegMean().merge(pretrained, experts).state_dict()
    for name in ("blocks.0.attn.qkv", "blocks.1.mlp.fc2"):
        errors = []
        for weights in (solved, averages):
            error = 0.0
            for task, expert in experts.items():
                x = inputs_of(expert, name, images_of(task))
                own = expert.get_parameter(f"{name}.weight")
                error += (x @ (weights[f"{name}.weight"] - own).T).square().sum().item()
            errors.append(error)
        assert errors[0] < errors[1]


def test_with_fewer_samples_than_inputs_the_rest_stays_the_average(models: Models) -> None:
    pretrained, experts = models
    solved = merged(models, 1.0, count=1)
    averages = RegMean().merge(pretrained, experts).state_dict()
    name = "blocks.1.mlp.fc2"  # 64 inputs, of which 3 images of 5 tokens reach 15 dimensions
    seen = torch.cat([inputs_of(e, name, images_of(t, 1)) for t, e in experts.items()])
    change = solved[f"{name}.weight"] - averages[f"{name}.weight"]
    assert change.isfinite().all()
    unseen = torch.linalg.svd(seen).Vh[len(seen) :]
    assert (change @ unseen.T).abs().max() < 1e-6
    assert change.abs().max() > 1e-3


def test_one_expert_identical_experts_batches_and_order(models: Models) -> None:
    pretrained, experts = models
    cars = {n: experts["cars"].state_dict()[n] for n in merged(models, 0.6)}
    for chosen in ({"cars": experts["cars"]}, {"a": experts["cars"], "bcd": experts["cars"]}):
        solved = merged((pretrained, chosen), 0.6)
        torch.testing.assert_close(solved, cars, rtol=1e-6, atol=1e-8)
    there = merged(models, 0.6)
    back = merged((pretrained, dict(reversed(experts.items()))), 0.6, batch=40)
    torch.testing.assert_close(there, back, rtol=1e-6, atol=1e-8)


def test_no_hook_stays_behind(models: Models) -> None:
    merged(models, 0.6)
    assert not any(m._forward_pre_hooks for e in models[1].values() for m in e.modules())


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_a_factor_out_of_range_is_refused(value: float) -> None:
    with pytest.raises(MergeError, match=rf"off_diagonal is {value}: choose a number from 0 to 1"):
        RegMean(value)
