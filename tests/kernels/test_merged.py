"""The batched merged MLP against one that merges the weights of one sample at a time."""

import pytest
import torch
from timm.layers.mlp import Mlp
from torch import Tensor, nn
from torch.nn import functional

from wemoe_pl.dictionaries import DenseVectors, Dictionary
from wemoe_pl.kernels import merged_mlp

B, N, D, HIDDEN, T = 3, 4, 5, 7, 2
SHAPES = pytest.mark.parametrize("shape", [(B, N, D), (B, D)], ids=["tokens", "features"])


@pytest.fixture
def mlp() -> nn.Module:
    torch.manual_seed(0)
    return Mlp(D, HIDDEN).double()


@pytest.fixture
def task_vectors(mlp: nn.Module) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {name: torch.randn(T, *w.shape).double() for name, w in mlp.named_parameters()}


def inputs(*shape: int) -> tuple[Tensor, Tensor]:
    """Routing weights and x, both of which require gradients."""
    torch.manual_seed(2)
    routing_weights, x = torch.randn(B, T).double(), torch.randn(shape).double()
    return routing_weights.requires_grad_(), x.requires_grad_()


def dense(task_vectors: dict[str, Tensor]) -> Dictionary:
    return Dictionary({name: DenseVectors(each) for name, each in task_vectors.items()})


def by_hand(mlp: nn.Module, vectors: dict[str, Tensor], routing: Tensor, x: Tensor) -> Tensor:
    outputs = []
    for r, sample in zip(routing, x, strict=True):
        w = {
            name: weight + sum(r[i] * vectors[name][i] for i in range(T))
            for name, weight in mlp.named_parameters()
        }
        hidden = functional.gelu(functional.linear(sample, w["fc1.weight"], w["fc1.bias"]))
        outputs.append(functional.linear(hidden, w["fc2.weight"], w["fc2.bias"]))
    return torch.stack(outputs)


@SHAPES
def test_output_and_gradients_match_the_loop_over_samples(
    mlp: nn.Module, task_vectors: dict[str, Tensor], shape: tuple[int, ...]
) -> None:
    routing_weights, x = inputs(*shape)
    actual = merged_mlp(mlp, dense(task_vectors), routing_weights, x)
    expected = by_hand(mlp, task_vectors, routing_weights, x)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)
    cotangent = torch.randn_like(expected)
    for gradient, reference in zip(
        torch.autograd.grad(actual, (routing_weights, x), cotangent),
        torch.autograd.grad(expected, (routing_weights, x), cotangent),
        strict=True,
    ):
        torch.testing.assert_close(gradient, reference, rtol=1e-9, atol=1e-12)


@SHAPES
def test_gradients_match_finite_differences(
    mlp: nn.Module, task_vectors: dict[str, Tensor], shape: tuple[int, ...]
) -> None:
    def run(routing_weights: Tensor, x: Tensor) -> Tensor:
        return merged_mlp(mlp, dense(task_vectors), routing_weights, x)

    assert torch.autograd.gradcheck(run, inputs(*shape))


def test_routing_weights_of_zero_give_the_pretrained_mlp(
    mlp: nn.Module, task_vectors: dict[str, Tensor]
) -> None:
    routing_weights, x = inputs(B, N, D)
    actual = merged_mlp(mlp, dense(task_vectors), torch.zeros_like(routing_weights), x)
    torch.testing.assert_close(actual, mlp(x))


def test_the_mlp_keeps_its_weights_and_receives_no_gradient(
    mlp: nn.Module, task_vectors: dict[str, Tensor]
) -> None:
    before = {name: weight.clone() for name, weight in mlp.state_dict().items()}
    mlp.requires_grad_(False)
    torch.autograd.backward(merged_mlp(mlp, dense(task_vectors), *inputs(B, N, D)).sum())
    torch.testing.assert_close(mlp.state_dict(), before, rtol=0, atol=0)
    assert all(weight.grad is None for weight in mlp.parameters())


def test_dropout_draws_another_mask_for_each_sample() -> None:
    torch.manual_seed(0)
    mlp = Mlp(D, 64, drop=0.5).train()
    vectors = {name: torch.zeros(T, *weight.shape) for name, weight in mlp.named_parameters()}
    x = torch.randn(1, N, D).expand(2, N, D)
    first, second = merged_mlp(mlp, dense(vectors), torch.zeros(2, T), x)
    assert not torch.equal(first, second)
