"""The weights of a tile, against sums in float64 over the whole layer."""

import pytest
import torch
from helpers.merged_reference import HIDDEN, D, N, T, dictionary, inputs, small_mlp, task_vectors
from torch import Tensor

from wemoe_pl.moe.kernels.tile_weights import TileWeights, tile_weights, with_margins
from wemoe_pl.moe.kernels.tiling import Tiling
from wemoe_pl.moe.kernels.two_layers import two_layers

B, UNITS = 3, 96
TILES = pytest.mark.parametrize("tile", [0, 3])  # a full one, and the last
LAYERS = pytest.mark.parametrize(("name", "dim"), [("fc1.weight", 0), ("fc2.weight", 1)])


def tile_of(name: str, dim: int, tile: int) -> tuple[TileWeights, Tensor, Tensor]:
    """A tile of a layer, and its pretrained weights (u, D) and task vectors (T, u, D)."""
    mlp = small_mlp()
    layers = two_layers(mlp, dictionary(mlp))
    assert layers is not None
    tiling = Tiling(B, HIDDEN, group=B, units=UNITS)
    weights = tile_weights([layers.first, layers.second][dim], dim, tiling, torch.float64)(tile)
    units, pretrained, vectors = tiling.units_of(tile), mlp.get_parameter(name), task_vectors(mlp)
    if dim == 0:
        return weights, pretrained[units], vectors[name][:, units]
    return weights, pretrained.mT[units], vectors[name].mT[:, units]


@LAYERS
@TILES
def test_weights_are_merged_for_every_sample(name: str, dim: int, tile: int) -> None:
    weights, pretrained, vectors = tile_of(name, dim, tile)
    routing_weights = inputs(B, N, D)[0].detach()
    workspace = torch.empty((B + 1) * UNITS * D).double()
    merged = weights.merged_for(slice(0, B), with_margins(routing_weights), workspace)
    expected = pretrained + torch.einsum("bt,tud->bud", routing_weights, vectors)
    torch.testing.assert_close(merged, expected, rtol=1e-12, atol=1e-12)


@LAYERS
@TILES
def test_gradients_are_contracted_with_every_task_vector(name: str, dim: int, tile: int) -> None:
    weights, pretrained, vectors = tile_of(name, dim, tile)
    left, right = torch.randn(B, N, len(pretrained)).double(), torch.randn(B, N, D).double()
    contracted = weights.contracted(left, right, torch.empty(B * UNITS * D).double())
    assert contracted.shape == (B, T)
    expected = torch.einsum("bnu,bnd,tud->bt", left, right, vectors)
    torch.testing.assert_close(contracted, expected, rtol=1e-9, atol=1e-9)
