"""Compute a merged linear layer in Triton, without writing merged weights to memory.

A program forms a tile of one sample's weights in registers from the dictionary, and multiplies it
at once. Programs of all samples that need the same tiles of the dictionary run next to each other,
so that a tile is read from device memory once per batch, and after that from its cache.
"""

from collections.abc import Sequence
from math import ceil
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from wemoe_pl.errors import MergeError
from wemoe_pl.moe.dense import DenseVectors
from wemoe_pl.moe.kernels.merged_layer import MergedLayer
from wemoe_pl.moe.kernels.triton_kernels import (
    available,
    contract_tile,
    is_interpreted,
    merged_tile,
    multiply_tile,
)
from wemoe_pl.moe.kernels.two_layers import TwoLayers

FEWEST_TOKENS = 16  # the fewest tokens of a tile that matrix units take
# The most bytes of a column of a tile of tokens. For every further tile, weights are merged anew.
MOST_BYTES = 512
GRADIENT_TILE = 64  # rows and columns that one program contracts to T numbers per sample


class FusedLinear(torch.autograd.Function):
    """A `FusedLinear` is `fused_linear` with gradients to x and to the routing weights."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, task_vectors: Tensor, routing_weights: Tensor
    ) -> Tensor:
        """Map (B, N, K), (M, K), (T, M, K) and (B, T) → (B, N, M)."""
        ctx.save_for_backward(x, weight, task_vectors, routing_weights)
        return multiplied(x, weight, task_vectors, routing_weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Multiply by transposed weights, and contract with the dictionary."""
        x, weight, task_vectors, routing_weights = ctx.saved_tensors
        (gradient,) = gradients
        to_x = to_routing = None
        if ctx.needs_input_grad[0]:
            to_x = multiplied(gradient, weight.mT, task_vectors.mT, routing_weights)
        if ctx.needs_input_grad[3]:
            to_routing = contracted(gradient, x, task_vectors).to(routing_weights.dtype)
        return to_x, None, None, to_routing


def fused_linear(
    x: Tensor, weight: Tensor, task_vectors: Tensor, routing_weights: Tensor
) -> Tensor:
    """Return x_b W_bᵀ for every sample b, W_b = W0 + Σ_t r_bt τ_t (arXiv 2402.00433, §3.2).

    `naive_linear` does the same in two lines. Sums are in float32, or in float64 if x is. Merged
    weights are rounded to the precision of x, as they would be if they were stored. The function
    can only be called where `available` is True.

    Args:
        x: the tokens, (B, N, K), of any strides, as all other arguments.
        weight: W0, (M, K), of the precision of x or a lower one; frozen.
        task_vectors: the dictionary τ, (T, M, K), likewise.
        routing_weights: the routing weights r, (B, T).

    Returns:
        A tensor (B, N, M) in the precision of x, differentiable once by x and the routing weights.

    Raises:
        MergeError: the shapes do not fit together.
    """
    samples, _, columns = x.shape
    experts, rows, _ = task_vectors.shape
    fits = weight.shape == (rows, columns) == task_vectors.shape[1:]
    if not (fits and routing_weights.shape == (samples, experts)):
        operands = (x, weight, task_vectors, routing_weights)
        raise MergeError(
            "A fused layer takes (B, N, K), (M, K), (T, M, K) and (B, T), "
            f"not {', '.join(str(tuple(operand.shape)) for operand in operands)}."
        )
    return FusedLinear.apply(x, weight, task_vectors, routing_weights)


def fused_layer(layer: MergedLayer, routing_weights: Tensor, x: Tensor) -> Tensor:
    """Compute a merged linear layer: routing weights (B, T) and x (B, N, n) → (B, N, m).

    Like `fused_mlp`, it can only be called where `fuses` is True.
    """
    product = fused_linear(x, layer.weight, dense(layer), routing_weights)
    return product + layer.merged_bias(routing_weights)[:, None]


def fused_mlp(mlp: TwoLayers, routing_weights: Tensor, x: Tensor) -> Tensor:
    """Compute two layers, one by one: routing weights (B, T) and x (B, N, D) → (B, N, D)."""
    hidden = mlp.act(fused_layer(mlp.first, routing_weights, x))
    return fused_layer(mlp.second, routing_weights, hidden)


def fuses(merged: TwoLayers | MergedLayer, x: Tensor) -> bool:
    """Return whether all dictionaries are dense and `fused_linear` can run where x is."""
    return available(x) and all(isinstance(e.vectors, DenseVectors) for e in merged.layers)


def dense(layer: MergedLayer) -> Tensor:
    """Return the task vectors of a layer, (T, m, n)."""
    assert isinstance(layer.vectors, DenseVectors)  # as `fuses` has checked
    return layer.vectors.stacked


def multiplied(x: Tensor, weight: Tensor, vectors: Tensor, routing: Tensor) -> Tensor:
    """Run `multiply_tile` on (B, N, K), (M, K), (T, M, K) and (B, T) → (B, N, M)."""
    (samples, tokens, columns), rows = x.shape, len(weight)
    out = x.new_empty(samples, tokens, rows)
    token_tile = token_tile_of(x)

    def grid(meta: dict[str, int]) -> tuple[int, int, int]:
        # The first dimension runs fastest: samples, which share the tiles of the dictionary.
        return samples, ceil(tokens / token_tile), ceil(rows / meta["row_tile"])

    operands = (out, x, weight, vectors, routing)
    options = compiled_for(vectors, token_tile)
    multiply_tile[grid](*operands, tokens, rows, columns, *strides_of(operands), **options)
    return out


def contracted(gradient: Tensor, x: Tensor, vectors: Tensor) -> Tensor:
    """Map (B, N, M), (B, N, K) and (T, M, K) → the gradient of the routing weights, (B, T).

    Every program writes its result to a place of its own, without atomic additions, whose order
    changes from run to run. All places together take B / 4096 of the numbers of the dictionary, per
    tile of tokens.
    """
    samples, tokens, columns = x.shape
    experts, rows, _ = vectors.shape
    token_tile = token_tile_of(x)
    parts = samples * ceil(tokens / token_tile)
    grid = ceil(rows / GRADIENT_TILE), ceil(columns / GRADIENT_TILE)
    wide = torch.promote_types(x.dtype, torch.float32)
    shares = x.new_empty(grid[0] * grid[1], parts, experts, dtype=wide)
    operands = (gradient, x, vectors)
    sizes = (parts, tokens, rows, columns)
    options = compiled_for(vectors, token_tile) | {"tile": GRADIENT_TILE}
    contract_tile[grid](shares, *operands, *sizes, *strides_of(operands), **options)
    return shares.sum(dim=0).view(samples, -1, experts).sum(dim=1)


def token_tile_of(x: Tensor) -> int:
    """Return the number of tokens of a sample that a program takes: all of them, if possible."""
    most = MOST_BYTES // x.element_size()
    return min(max(FEWEST_TOKENS, 1 << (x.shape[1] - 1).bit_length()), most)


def strides_of(operands: Sequence[Tensor]) -> list[int]:
    """Return the strides of some tensors, one after another."""
    return [stride for operand in operands for stride in operand.stride()]


def compiled_for(vectors: Tensor, token_tile: int) -> dict[str, Any]:
    """Return the constants for which Triton compiles a kernel."""
    full_precision = torch.get_float32_matmul_precision() == "highest"
    return {
        "experts": len(vectors),
        "precision": "ieee" if full_precision else "tf32",  # as PyTorch's own products in float32
        "interpreted": is_interpreted(merged_tile),
        "token_tile": token_tile,
    }
