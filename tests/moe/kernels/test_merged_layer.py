"""A merged layer knows its task vectors, and which tokens share its weights."""

import pytest
import torch
from helpers.merged_reference import T, dictionary
from torch import nn

from wemoe_pl.errors import MergeError
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.kernels.merged_layer import MergedLayer, by_sample
from wemoe_pl.moe.quantised import Quantised


@pytest.mark.parametrize("bias", [True, False])
def test_the_bias_is_merged_too_and_is_zero_if_there_is_none(bias: bool) -> None:
    linear = nn.Linear(3, 4, bias=bias).double()
    vectors = dict(dictionary(nn.ModuleDict({"fc": linear})).items())
    layer = MergedLayer.of(linear, vectors, "fc")
    assert layer.layers == (layer,)
    assert layer.vectors is vectors["fc.weight"]
    routing = torch.rand(2, T).double()
    expected = torch.zeros(2, 4).double()
    if bias:
        expected = linear.bias + routing @ vectors["fc.bias"].mix(torch.eye(T).double())
    torch.testing.assert_close(layer.merged_bias(routing), expected)


@pytest.mark.parametrize(
    ("shape", "rows", "expected"),
    [
        ((3, 4, 5), 3, (3, 4, 5)),
        ((3, 5), 3, (3, 1, 5)),
        ((3, 2, 4, 5), 3, (3, 8, 5)),
        ((3, 4, 5), 1, (1, 12, 5)),
        ((3, 5), 1, (1, 3, 5)),
        ((0, 4, 5), 0, (0, 4, 5)),
    ],
)
def test_tokens_of_a_sample_stay_together(
    shape: tuple[int, ...], rows: int, expected: tuple[int, ...]
) -> None:
    x = torch.rand(shape)
    tokens = by_sample(x, torch.zeros(rows, T))
    assert tokens.shape == expected
    assert torch.equal(tokens.flatten(), x.flatten())


def test_a_batch_of_another_size_is_refused() -> None:
    with pytest.raises(MergeError, match=r"given \(12, 5\) for a batch of 3"):
        by_sample(torch.zeros(12, 5), torch.zeros(3, T))


def test_all_matrices_are_converted_or_none() -> None:
    mlp = nn.ModuleDict({"fc": nn.Linear(3, 4).double()})
    for form, expected in ((Dense(), 0), (Dense("float32"), T + 1), (Quantised(), T + 1)):
        layer = MergedLayer.of(mlp["fc"], dict(dictionary(mlp, form).items()), "fc")
        assert layer.converted(torch.float64) == expected
    assert (
        MergedLayer.of(mlp["fc"], dict(dictionary(mlp, Dense("float32")).items()), "fc").converted(
            torch.float32
        )
        == 0
    )
