"""A dictionary is named like the module whose task vectors it holds."""

from collections.abc import Callable

import pytest
import torch
from helpers.stored_vectors import LOSSLESS, LOSSY, T, weights, written_out
from torch import Tensor, nn

from wemoe_pl.errors import MergeError
from wemoe_pl.moe.compression import Compression
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.dictionary import Dictionary, restored
from wemoe_pl.moe.low_rank import LowRank
from wemoe_pl.moe.pruned import Pruned
from wemoe_pl.moe.quantised import Quantised


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


def stored_parts(compression: Compression) -> tuple[dict[str, Tensor], Tensor]:
    """The state dict of the task vectors of a matrix, and the matrix."""
    weight, tuned = weights((7, 9))
    return dict(compression.store(weight, tuned.__getitem__, T).state_dict()), weight


@pytest.mark.parametrize("compression", [*LOSSLESS, *LOSSY], ids=str)
def test_what_was_stored_is_restored(compression: Compression) -> None:
    parts, weight = stored_parts(compression)
    expected = compression.store(weight, weights((7, 9))[1].__getitem__, T)
    assert written_out(restored(parts, weight, T)).equal(written_out(expected))


@pytest.mark.parametrize(
    ("compression", "part", "change"),
    [
        (Pruned(ratio=0.5), "counts", lambda counts: counts + 1),
        (Pruned(ratio=0.5), "counts", lambda counts: -counts),
        (Pruned(ratio=0.5), "counts", lambda counts: counts[:, 1:]),
        (Pruned(ratio=0.5), "counts", lambda counts: counts.float()),
        (Pruned(ratio=0.5), "places", lambda places: places - 100),
        (Pruned(ratio=0.5), "places", lambda places: places + 9000),
        (Pruned(ratio=0.5), "places", lambda places: places[1:]),
        (Pruned(ratio=0.5), "values", lambda values: values[1:]),
        (LowRank(rank=2), "owners", lambda owners: owners + 1),
        (LowRank(rank=2), "owners", lambda owners: -owners),
        (LowRank(rank=2), "owners", lambda owners: owners.flip(0)),
        (LowRank(rank=2), "owners", lambda owners: owners[1:]),
        (LowRank(rank=2), "left", lambda left: left[1:]),
        (LowRank(rank=2), "right", lambda right: right.T),
        (Quantised(), "levels", lambda levels: levels[1:]),
        (Quantised(), "levels", lambda levels: levels.float()),
        (Quantised(), "levels", lambda levels: levels.view(T, -1)),
        (Quantised(), "absmax", lambda absmax: absmax[T:]),
        (Quantised(), "absmax", lambda absmax: absmax.int()),
        (Dense(), "entries", lambda entries: entries[1:]),
    ],
)
def test_parts_that_do_not_fit_each_other_are_refused(
    compression: Compression, part: str, change: Callable[[Tensor], Tensor]
) -> None:
    parts, weight = stored_parts(compression)
    parts[part] = change(parts[part])
    with pytest.raises(
        MergeError, match=rf"cannot be read as a dictionary of {T} task vectors of shape \(7, 9"
    ):
        restored(parts, weight, T)
