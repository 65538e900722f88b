"""The hidden layer of a router, against its naive form."""

import importlib

import pytest
import torch
from torch import Tensor

from wemoe_pl.moe.kernels.hidden_mean import chunks, hidden_mean
from wemoe_pl.moe.kernels.naive import naive_hidden_mean

B, N, D, H = 5, 3, 4, 6


def operands(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(size, dtype=dtype).requires_grad_() for size in ((B, N, D), (H, D), (H,))]


@pytest.mark.parametrize("samples", [1, 2, 5, 100])
def test_it_is_the_same_however_many_samples_at_a_time(
    samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("wemoe_pl.moe.kernels.hidden_mean")
    monkeypatch.setattr(module, "CPU_CHUNK", samples * N * H * 8)
    given = operands()
    actual, expected = hidden_mean(*given), naive_hidden_mean(*given)
    torch.testing.assert_close(actual, expected)
    cotangent = torch.randn_like(expected)
    torch.testing.assert_close(
        torch.autograd.grad(actual, given, cotangent),
        torch.autograd.grad(expected, given, cotangent),
    )


def test_tokens_may_lie_in_memory_in_any_order() -> None:
    x, weight, bias = operands()
    turned = x.detach().permute(2, 0, 1).contiguous().permute(1, 2, 0).requires_grad_()
    assert not turned.is_contiguous()
    hidden_mean(turned, weight, bias).square().sum().backward()
    naive_hidden_mean(x, weight, bias).square().sum().backward()
    torch.testing.assert_close(turned.grad, x.grad)


@pytest.mark.parametrize(("samples", "sizes"), [(0, []), (7, [4, 3]), (12, [4, 4, 4]), (5, [5])])
def test_what_does_not_fit_is_shared_out_evenly(
    samples: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("wemoe_pl.moe.kernels.hidden_mean")
    monkeypatch.setattr(module, "CPU_CHUNK", 5 * N * H * 4)  # five samples of float32
    x = torch.zeros(samples, N, D)
    assert [len(x[part]) for part in chunks(x, H)] == sizes


@pytest.mark.parametrize("wanted", range(3))
def test_only_the_gradients_asked_for_are_computed(wanted: int) -> None:
    given = [tensor.detach().requires_grad_(i == wanted) for i, tensor in enumerate(operands())]
    hidden_mean(*given).sum().backward()
    assert [tensor.grad is not None for tensor in given] == [i == wanted for i in range(3)]


def test_of_activations_a_byte_each_is_kept() -> None:
    out = hidden_mean(*operands())
    assert out.grad_fn is not None
    saved: list[Tensor] = out.grad_fn.saved_tensors  # type: ignore[attr-defined]
    assert [tensor.dtype for tensor in saved if tensor.shape == (B, N, H)] == [torch.bool]


def test_an_empty_batch_gives_an_empty_one() -> None:
    x, weight, bias = operands()
    assert hidden_mean(x[:0], weight, bias).shape == (0, H)


def test_autocast_computes_in_lower_precision() -> None:
    given = operands(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = hidden_mean(*given)
    torch.testing.assert_close(cast.float(), naive_hidden_mean(*given), rtol=0.05, atol=0.05)
