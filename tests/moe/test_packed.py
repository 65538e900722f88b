"""Packed task vectors are mixed as the matrix of them all, unpacked, would be."""

import pytest
import torch
from helpers.stored_vectors import B, T, matrix

from wemoe_pl.moe.compression import Compression
from wemoe_pl.moe.packed import PackedVectors
from wemoe_pl.moe.pruned import Pruned
from wemoe_pl.moe.quantised import Quantised


@pytest.mark.parametrize("column_major", [False, True], ids=["rows", "columns"])
@pytest.mark.parametrize("form", [Pruned(ratio=0.6), Quantised()], ids=repr)
def test_a_mixture_and_its_gradient_are_those_of_what_is_unpacked(
    form: Compression, column_major: bool
) -> None:
    weight, tuned = matrix((7, 9), column_major)
    vectors = form.store(weight, tuned.__getitem__, T)
    assert isinstance(vectors, PackedVectors)
    entries = vectors.unpacked(torch.float64)
    assert entries.shape == (T, 63)
    by_hand = torch.stack([e.view(9, 7).mT if column_major else e.view(7, 9) for e in entries])
    routing_weights = torch.randn(B, T, dtype=torch.float64, requires_grad=True)
    mixed = vectors.mix(routing_weights)
    expected = sum(routing_weights[:, i, None, None] * by_hand[i] for i in range(T))
    torch.testing.assert_close(mixed, expected, rtol=1e-12, atol=1e-12)
    upstream = torch.randn_like(mixed)
    [gradient] = torch.autograd.grad(mixed, routing_weights, upstream)
    correct = torch.einsum("bmn,tmn->bt", upstream, by_hand)
    torch.testing.assert_close(gradient, correct, rtol=1e-12, atol=1e-12)
