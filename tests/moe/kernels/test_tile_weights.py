"""The weights of a tile, against sums in float64 over the whole layer."""

import pytest
import torch
from helpers.merged_reference import HIDDEN, D, N, T, dictionary, inputs, small_mlp
from torch import Tensor

from wemoe_pl.moe.compression import Compression
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.kernels.tile_weights import (
    GAP,
    TileWeights,
    new_workspace,
    tile_weights,
    with_margins,
)
from wemoe_pl.moe.kernels.tiling import Tiling
from wemoe_pl.moe.kernels.two_layers import two_layers
from wemoe_pl.moe.pruned import Pruned
from wemoe_pl.moe.quantised import Quantised

B, UNITS = 3, 96
# One lies in memory as it is used; the others are converted.
FORMS = pytest.mark.parametrize("form", [Dense(), Dense("float32"), Quantised()], ids=repr)
TILES = pytest.mark.parametrize("tile", [0, 3])  # a full one, and the last
LAYERS = pytest.mark.parametrize(("name", "dim"), [("fc1.weight", 0), ("fc2.weight", 1)])


def tile_of(
    name: str, dim: int, tile: int, form: Compression
) -> tuple[TileWeights, Tensor, Tensor]:
    """A tile of a layer, and its pretrained weights (u, D) and task vectors (T, u, D)."""
    mlp = small_mlp()
    stored = dictionary(mlp, form)
    layers = two_layers(mlp, stored)
    assert layers is not None
    tiling = Tiling(B, HIDDEN, group=B, units=UNITS)
    weights = tile_weights([layers.first, layers.second][dim], dim, tiling, torch.float64)(tile)
    units, pretrained = tiling.units_of(tile), mlp.get_parameter(name)
    vectors = dict(stored.items())[name].mix(torch.eye(T).double())
    if dim == 0:
        return weights, pretrained[units], vectors[:, units]
    return weights, pretrained.mT[units], vectors.mT[:, units]


@FORMS
@LAYERS
@TILES
def test_weights_are_merged_for_every_sample(
    name: str, dim: int, tile: int, form: Compression
) -> None:
    weights, pretrained, vectors = tile_of(name, dim, tile, form)
    routing_weights = inputs(B, N, D)[0].detach()
    workspace = new_workspace(routing_weights, B, UNITS, D)
    merged = weights.merged_for(slice(0, B), with_margins(routing_weights), workspace)
    expected = pretrained + torch.einsum("bt,tud->bud", routing_weights, vectors)
    torch.testing.assert_close(merged, expected, rtol=1e-12, atol=1e-12)


@LAYERS
def test_the_weights_of_all_samples_begin_in_different_places_of_the_cache(
    name: str, dim: int
) -> None:
    weights, _, _ = tile_of(name, dim, 0, Dense("float32"))
    assert weights.together is not None
    routing = with_margins(torch.zeros(B, T).double())
    merged = weights.merged_for(slice(0, B), routing, new_workspace(routing, B, UNITS, D))
    assert merged.stride() == (UNITS * D + GAP, D, 1)


@FORMS
@LAYERS
@TILES
def test_gradients_are_contracted_with_every_task_vector(
    name: str, dim: int, tile: int, form: Compression
) -> None:
    weights, pretrained, vectors = tile_of(name, dim, tile, form)
    left, right = torch.randn(B, N, len(pretrained)).double(), torch.randn(B, N, D).double()
    contracted = weights.contracted(left, right, new_workspace(left, B, UNITS, D))
    assert contracted.shape == (B, T)
    expected = torch.einsum("bnu,bnd,tud->bt", left, right, vectors)
    torch.testing.assert_close(contracted, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("form", [Dense("float32"), Quantised()], ids=repr)
def test_what_is_converted_has_the_pretrained_lines_behind_it(form: Compression) -> None:
    weights, pretrained, _ = tile_of("fc2.weight", 1, 1, form)
    assert weights.together is not None
    assert weights.together.shape == (T + 1, UNITS * D)
    assert weights.together[:-1].data_ptr() == weights.vectors.data_ptr()
    assert weights.together[-1].view(UNITS, D).equal(pretrained)
    assert tile_of("fc2.weight", 1, 1, Pruned(ratio=0.5))[0].together is None
