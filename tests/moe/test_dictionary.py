"""A dictionary is named like the module whose task vectors it holds."""

import torch
from helpers.stored_vectors import T
from torch import nn

from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.dictionary import Dictionary


def test_a_dictionary_names_what_it_holds_like_the_module() -> None:
    mlp = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2, bias=False))
    dictionary = Dictionary(
        {
            name: Dense().store(w, ([w + 1] * T).__getitem__, T)
            for name, w in mlp.state_dict().items()
        }
    )
    assert [name for name, _ in dictionary.items()] == [name for name, _ in mlp.named_parameters()]
    assert "0.weight.entries" in dictionary.state_dict()
    assert dictionary.nbytes == T * 4 * sum(weight.numel() for weight in mlp.parameters())
    mixed = dictionary.mix(torch.ones(1, T))
    torch.testing.assert_close(mixed["1.weight"], torch.full((1, 2, 3), float(T)))
    assert not any(weight.requires_grad for weight in dictionary.parameters())
