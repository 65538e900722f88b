"""AdaMerging against weights that are summed by hand, before and after its coefficients learn."""

from collections.abc import Callable
from copy import deepcopy
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.adamerging import AdaMerging, AdaptiveEncoder
from wemoe_pl.merging.folding import fold
from wemoe_pl.merging.task_arithmetic import TaskArithmetic

Experts = dict[str, nn.Module]
IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
BOTH = pytest.mark.parametrize("granularity", ["task", "layer"])


def in_double(pretrained: nn.Module, experts: Experts) -> tuple[nn.Module, Experts]:
    doubled = {task: deepcopy(expert).double() for task, expert in experts.items()}
    return deepcopy(pretrained).double(), doubled


def merged(pretrained: nn.Module, experts: Experts, method: AdaMerging) -> AdaptiveEncoder:
    encoder = method.merge(pretrained, experts)
    assert isinstance(encoder, AdaptiveEncoder)
    return encoder


@BOTH
@pytest.mark.parametrize("keep", [1.0, 0.2])
def test_features_are_those_of_weights_summed_by_hand(
    pretrained: nn.Module, experts: Experts, granularity: str, keep: float
) -> None:
    pretrained, experts = in_double(pretrained, experts)
    encoder = merged(pretrained, experts, AdaMerging(granularity, 0.3, keep))  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(1)
    nn.init.normal_(encoder.coefficients, 0.3, 0.2, generator)
    by_hand = deepcopy(pretrained)
    vectors = []
    for expert in experts.values():
        base = pretrained.state_dict()
        vector = {key: weight - base[key] for key, weight in expert.state_dict().items()}
        entries = sorted(abs(x) for v in vector.values() for x in v.flatten().tolist())
        threshold = entries[-round(keep * len(entries))]
        vectors.append({k: v * (v.abs() >= threshold) for k, v in vector.items()})
    for layer, (name, weight) in enumerate(by_hand.named_parameters()):
        for i, vector in enumerate(vectors):
            learned = encoder.coefficients
            share = learned[i] if granularity == "task" else learned[layer, i]
            weight.data += share.item() * vector[name]
    images = IMAGES.double()
    torch.testing.assert_close(encoder(images), by_hand(images), rtol=1e-9, atol=1e-12)


@BOTH
def test_it_starts_as_task_arithmetic_and_trains_its_coefficients_alone(
    pretrained: nn.Module, experts: Experts, granularity: str
) -> None:
    method = AdaMerging(granularity, init_lambda=0.2)  # type: ignore[arg-type]
    encoder = merged(pretrained, experts, method)
    static = TaskArithmetic(0.2).merge(pretrained, experts)
    torch.testing.assert_close(encoder(IMAGES), static(IMAGES), rtol=1e-4, atol=1e-5)
    [trained] = [w for w in encoder.parameters() if w.requires_grad]
    layers = len(list(pretrained.parameters()))
    assert trained.shape == ((3,) if granularity == "task" else (layers, 3))
    encoder(IMAGES).square().sum().backward()
    assert trained.grad is not None
    assert (trained.grad != 0).any(dim=0).all()


@BOTH
def test_clamped_coefficients_merge_from_0_to_1(
    pretrained: nn.Module, experts: Experts, granularity: Literal["task", "layer"]
) -> None:
    clamped = merged(pretrained, experts, AdaMerging(granularity, clamp=True))
    free = merged(pretrained, experts, AdaMerging(granularity))
    learned = torch.tensor([-0.4, 0.3, 1.7]).expand_as(clamped.coefficients)
    clamped.coefficients.data.copy_(learned)
    free.coefficients.data.copy_(learned.clamp(0, 1))
    torch.testing.assert_close(clamped(IMAGES), free(IMAGES))
    torch.testing.assert_close(fold(clamped).state_dict(), fold(free).state_dict())
    free.coefficients.data.copy_(learned)
    assert not torch.allclose(clamped(IMAGES), free(IMAGES))
    clamped(IMAGES).square().sum().backward()
    assert clamped.coefficients.grad is not None
    outside = clamped.coefficients.grad.reshape(-1, 3)[:, [0, 2]]
    assert not outside.any()


@BOTH
def test_folded_it_is_a_plain_encoder_of_the_same_function(
    pretrained: nn.Module, experts: Experts, granularity: str
) -> None:
    encoder = merged(pretrained, experts, AdaMerging(granularity))  # type: ignore[arg-type]
    nn.init.normal_(encoder.coefficients, 0.3, 0.2)
    plain = fold(encoder)
    assert type(plain) is type(pretrained)
    assert shapes(plain) == shapes(pretrained)
    torch.testing.assert_close(plain(IMAGES), encoder(IMAGES))


def shapes(encoder: nn.Module) -> dict[str, torch.Size]:
    return {name: weight.shape for name, weight in encoder.state_dict().items()}


@BOTH
def test_permuted_experts_give_the_same_features(
    pretrained: nn.Module, experts: Experts, granularity: str
) -> None:
    reverse = dict(reversed(experts.items()))
    features: list[Tensor] = [
        AdaMerging(granularity).merge(pretrained, each)(IMAGES)  # type: ignore[arg-type]
        for each in (experts, reverse)
    ]
    torch.testing.assert_close(*features, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "label"),
    [
        (AdaMerging("task"), "Task-wise AdaMerging"),
        (AdaMerging("layer"), "Layer-wise AdaMerging"),
        (AdaMerging("layer", keep=0.2), "Layer-wise AdaMerging++"),
    ],
)
def test_tables_call_it_as_published(method: AdaMerging, label: str) -> None:
    assert method.label == label
    assert method.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AdaMerging(init_lambda=1.5), r"is 1\.5: choose a number from 0 to 1"),
        (lambda: AdaMerging(keep=0.0), r"keep is 0\.0"),
    ],
)
def test_values_out_of_range_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(MergeError, match=message):
        make()
