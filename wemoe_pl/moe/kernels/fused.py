"""A merged linear layer in Triton: weights are merged in registers and never written to memory.

A program forms a tile of one sample's weights from the dictionary and multiplies it at once. The
programs of all samples that need the same tiles run next to each other, so that these come from
device memory once per batch, and else from its cache.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from wemoe_pl.errors import MergeError
from wemoe_pl.moe.dense import DenseVectors
from wemoe_pl.moe.kernels.two_layers import MergedLayer, TwoLayers

try:
    import triton  # type: ignore[import-untyped]
    import triton.language as tl  # type: ignore[import-untyped]
    from triton.language import constexpr
except ImportError:  # it is there for Linux only
    triton = None

AMPERE = 8  # the first generation whose matrix units know bfloat16 and tf32
FEWEST_TOKENS = 16  # of a tile, as matrix units want
# Of one column of a tile of tokens. For those of the next tile, weights are merged once more.
MOST_BYTES = 512
GRADIENT_TILE = 64  # rows and columns that one program contracts to T numbers per sample


def kernel(function: Callable[..., None]) -> Any:
    """`triton.jit`, which leaves things as they are where there is no Triton."""
    return triton.jit(function) if triton else function


def tuned(*choices: dict[str, int]) -> Callable[[Any], Any]:
    """For a kernel, whichever choice of tiles and warps is fastest on its first call of a shape."""

    def tune(function: Any) -> Any:
        if triton is None:
            return function
        # A row-major and a column-major dictionary are read in different ways.
        key = ["tokens", "rows", "columns", "experts", "vectors_m"]
        configs = [config(**choice) for choice in choices]
        return triton.autotune(configs[:1] if is_interpreted(function) else configs, key)(function)

    return tune


def config(num_warps: int, num_stages: int, **tile: int) -> Any:
    """A choice, in Triton's terms."""
    return triton.Config(tile, num_warps=num_warps, num_stages=num_stages)


def is_interpreted(function: Any) -> bool:
    """Was TRITON_INTERPRET=1 when this kernel was defined, so that it runs on the CPU?"""
    return triton is not None and not isinstance(function, triton.JITFunction)


@kernel
def merged_tile(
    weight: tl.tensor,
    vectors: tl.tensor,
    routing: tl.tensor,
    inside: tl.tensor,
    vectors_t: int,
    routing_t: int,
    experts: constexpr,
    wide: constexpr,
) -> tl.tensor:
    """W0 + Σ_t r_t τ_t, of the entries that the pointers point to and that lie inside."""
    merged = tl.load(weight, mask=inside, other=0.0).to(wide)
    for t in tl.static_range(experts):
        share = tl.load(routing + t * routing_t).to(wide)
        merged += share * tl.load(vectors, mask=inside, other=0.0).to(wide)
        # Step by step: `t * vectors_t` may need more than 32 bits.
        vectors += vectors_t
    return merged


@kernel
def plus_product(
    total: tl.tensor,
    left: tl.tensor,
    right: tl.tensor,
    precision: constexpr,
    interpreted: constexpr,
) -> tl.tensor:
    """Total + left · right, of what lies in registers."""
    if interpreted:  # Triton's interpreter would multiply the bits of bfloat16 numbers as integers
        total += tl.dot(left.to(total.dtype), right.to(total.dtype))
    else:
        total = tl.dot(left, right, total, input_precision=precision)
    return total


@tuned(
    {"row_tile": 64, "column_tile": 32, "num_warps": 4, "num_stages": 3},
    {"row_tile": 64, "column_tile": 64, "num_warps": 4, "num_stages": 2},
    {"row_tile": 64, "column_tile": 32, "num_warps": 8, "num_stages": 3},
    {"row_tile": 128, "column_tile": 32, "num_warps": 8, "num_stages": 3},
    {"row_tile": 128, "column_tile": 64, "num_warps": 8, "num_stages": 2},
    {"row_tile": 64, "column_tile": 32, "num_warps": 8, "num_stages": 1},
)
@kernel
def multiply_tile(
    out: tl.tensor,
    x: tl.tensor,
    weight: tl.tensor,
    vectors: tl.tensor,
    routing: tl.tensor,
    tokens: int,
    rows: int,
    columns: int,
    out_b: int,
    out_n: int,
    out_m: int,
    x_b: int,
    x_n: int,
    x_k: int,
    weight_m: int,
    weight_k: int,
    vectors_t: int,
    vectors_m: int,
    vectors_k: int,
    routing_b: int,
    routing_t: int,
    experts: constexpr,
    precision: constexpr,
    interpreted: constexpr,
    token_tile: constexpr,
    row_tile: constexpr,
    column_tile: constexpr,
) -> None:
    """out[b, n, m] = Σ_k x[b, n, k] W_b[m, k], for some n and m of sample b.

    It is computed as W xᵀ: matrix units take their left operand from registers, where the merged
    weights are.
    """
    wide: constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    sample = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1).to(tl.int64) * token_tile + tl.arange(0, token_tile)[None, :]
    m = tl.program_id(2).to(tl.int64) * row_tile + tl.arange(0, row_tile)[:, None]
    k = tl.arange(0, column_tile)
    x += sample * x_b + n * x_n + k[:, None] * x_k
    weight += m * weight_m + k[None, :] * weight_k
    vectors += m * vectors_m + k[None, :] * vectors_k
    routing += sample * routing_b
    total = tl.zeros((row_tile, token_tile), dtype=wide)
    for first in range(0, columns, column_tile):
        left = columns - first
        inside = (m < rows) & (k[None, :] < left)
        merged = merged_tile(weight, vectors, routing, inside, vectors_t, routing_t, experts, wide)
        seen = tl.load(x, mask=(k[:, None] < left) & (n < tokens), other=0.0)
        total = plus_product(total, merged.to(seen.dtype), seen, precision, interpreted)
        x += column_tile * x_k
        weight += column_tile * weight_k
        vectors += column_tile * vectors_k
    out += sample * out_b + n * out_n + m * out_m
    tl.store(out, total.to(out.dtype.element_ty), mask=(m < rows) & (n < tokens))


@tuned(
    {"num_warps": 4, "num_stages": 3},
    {"num_warps": 4, "num_stages": 2},
    {"num_warps": 8, "num_stages": 2},
    {"num_warps": 8, "num_stages": 1},
)
@kernel
def contract_tile(
    shares: tl.tensor,
    gradient: tl.tensor,
    x: tl.tensor,
    vectors: tl.tensor,
    parts: int,
    tokens: int,
    rows: int,
    columns: int,
    gradient_b: int,
    gradient_n: int,
    gradient_m: int,
    x_b: int,
    x_n: int,
    x_k: int,
    vectors_t: int,
    vectors_m: int,
    vectors_k: int,
    experts: constexpr,
    precision: constexpr,
    interpreted: constexpr,
    token_tile: constexpr,
    tile: constexpr,
) -> None:
    """shares[·, p, t] = Σ_mk (Σ_n gradient[b, n, m] x[b, n, k]) τ_t[m, k], for some m and k.

    Part p is some tokens n of a sample b, of one after another: each part of the gradient of its
    weights is gone once it is contracted.
    """
    wide: constexpr = shares.dtype.element_ty
    n = tl.arange(0, token_tile)
    m = tl.program_id(0).to(tl.int64) * tile + tl.arange(0, tile)[:, None]
    k = tl.program_id(1).to(tl.int64) * tile + tl.arange(0, tile)[None, :]
    inside = (m < rows) & (k < columns)
    gradient += n[None, :] * gradient_n + m * gradient_m
    x += n[:, None] * x_n + k * x_k
    vectors += m * vectors_m + k * vectors_k
    program = tl.program_id(0).to(tl.int64) * tl.num_programs(1) + tl.program_id(1)
    shares += program * parts * experts
    parts_per_sample = tl.cdiv(tokens, token_tile)
    for part in range(parts):
        sample = tl.cast(part // parts_per_sample, tl.int64)
        first = tl.cast(part % parts_per_sample, tl.int64) * token_tile
        here = n < tokens - first
        error = tl.load(
            gradient + sample * gradient_b + first * gradient_n,
            mask=(m < rows) & here[None, :],
            other=0.0,
        )
        seen = tl.load(
            x + sample * x_b + first * x_n, mask=here[:, None] & (k < columns), other=0.0
        )
        to_weight = plus_product(tl.zeros((tile, tile), wide), error, seen, precision, interpreted)
        vector = vectors
        for t in tl.static_range(experts):
            entries = tl.load(vector, mask=inside, other=0.0).to(wide)
            tl.store(shares + t, tl.sum(to_weight * entries))
            vector += vectors_t
        shares += experts


class FusedLinear(torch.autograd.Function):
    """`fused_linear`; gradients to x and to the routing weights."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, task_vectors: Tensor, routing_weights: Tensor
    ) -> Tensor:
        """(B, N, K), (M, K), (T, M, K) and (B, T) → (B, N, M)."""
        ctx.save_for_backward(x, weight, task_vectors, routing_weights)
        return multiplied(x, weight, task_vectors, routing_weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The same product with transposed weights, and a contraction with the dictionary."""
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
    """Sample b through the weights W_b = W0 + Σ_t r_bt τ_t (arXiv 2402.00433, §3.2): x_b W_bᵀ.

    Sums are in float32, or float64 for such an x. Merged weights are rounded to the precision of
    x, as they would be if they were stored. Where `available` is False, so is this function.

    Args:
        x: tokens (B, N, K), of any strides, as all that follows.
        weight: W0, (M, K), of the precision of x or a lower one; frozen.
        task_vectors: the dictionary τ, (T, M, K), likewise.
        routing_weights: r, (B, T).

    Returns:
        (B, N, M), in the precision of x, and differentiable once by x and the routing weights.

    Raises:
        MergeError: the shapes do not fit together.
    """
    samples, _, columns = x.shape
    experts, rows, _ = task_vectors.shape
    fits = weight.shape == (rows, columns) == task_vectors.shape[1:]
    if not (fits and routing_weights.shape == (samples, experts)):
        shapes = [tuple(each.shape) for each in (x, weight, task_vectors, routing_weights)]
        raise MergeError(
            "A fused layer takes (B, N, K), (M, K), (T, M, K) and (B, T), "
            f"not {', '.join(map(str, shapes))}."
        )
    out: Tensor = FusedLinear.apply(x, weight, task_vectors, routing_weights)
    return out


def fused_mlp(mlp: TwoLayers, routing_weights: Tensor, x: Tensor) -> Tensor:
    """The two layers, one after the other: routing weights (B, T) and x (B, N, D) → (B, N, D).

    Where `fuses` is False, so is this function.
    """

    def run(layer: MergedLayer, x: Tensor) -> Tensor:
        product = fused_linear(x, layer.weight, dense(layer), routing_weights)
        return product + layer.merged_bias(routing_weights)[:, None]

    return run(mlp.second, mlp.act(run(mlp.first, x)))


def fuses(mlp: TwoLayers, x: Tensor) -> bool:
    """Are both dictionaries dense, and can `fused_linear` run where x is?"""
    layers = (mlp.first, mlp.second)
    return available(x) and all(isinstance(layer.vectors, DenseVectors) for layer in layers)


def dense(layer: MergedLayer) -> Tensor:
    """Its task vectors, (T, m, n)."""
    assert isinstance(layer.vectors, DenseVectors)  # as `fuses` has found
    return layer.vectors.stacked


def available(x: Tensor) -> bool:
    """Can `fused_linear` run where x is: on a CUDA device of compute capability 8, or interpreted?

    On a device, Triton needs a C compiler for what starts its kernels. Its interpreter, for tests,
    takes every device; TRITON_INTERPRET=1 must be set before this module is imported.
    """
    if triton is None:
        return False
    on_gpu = x.is_cuda and torch.version.cuda is not None and has_compiler()
    return is_interpreted(merged_tile) or (
        on_gpu and torch.cuda.get_device_capability(x.device)[0] >= AMPERE
    )


@cache
def has_compiler() -> bool:
    """Is there the C compiler that Triton would call? Without one, it raises in mid-run."""
    return "CC" in os.environ or any(map(shutil.which, ("gcc", "clang")))


def multiplied(x: Tensor, weight: Tensor, vectors: Tensor, routing: Tensor) -> Tensor:
    """(B, N, K), (M, K), (T, M, K) and (B, T) → (B, N, M)."""
    (samples, tokens, columns), rows = x.shape, len(weight)
    out = x.new_empty(samples, tokens, rows)
    token_tile = token_tile_of(x)

    def grid(meta: dict[str, int]) -> tuple[int, int, int]:
        # The first runs fastest: samples, which share the tiles of the dictionary.
        return samples, triton.cdiv(tokens, token_tile), triton.cdiv(rows, meta["row_tile"])

    multiply_tile[grid](
        *(out, x, weight, vectors, routing),
        *(tokens, rows, columns),
        *(*out.stride(), *x.stride(), *weight.stride(), *vectors.stride(), *routing.stride()),
        experts=len(vectors),
        precision=dot_precision(),
        interpreted=is_interpreted(merged_tile),
        token_tile=token_tile,
    )
    return out


def contracted(gradient: Tensor, x: Tensor, vectors: Tensor) -> Tensor:
    """(B, N, M), (B, N, K) and (T, M, K) → the gradient of the routing weights, (B, T).

    Every program has its own place for what it finds. All places together take B / 4096 of the
    numbers of the dictionary, per tile of tokens: there are no atomic additions, whose order is
    another in every run.
    """
    samples, tokens, columns = x.shape
    experts, rows, _ = vectors.shape
    token_tile = token_tile_of(x)
    parts = samples * triton.cdiv(tokens, token_tile)
    grid = triton.cdiv(rows, GRADIENT_TILE), triton.cdiv(columns, GRADIENT_TILE)
    wide = torch.promote_types(x.dtype, torch.float32)
    shares = x.new_empty(grid[0] * grid[1], parts, experts, dtype=wide)
    contract_tile[grid](
        *(shares, gradient, x, vectors),
        *(parts, tokens, rows, columns),
        *(*gradient.stride(), *x.stride(), *vectors.stride()),
        experts=experts,
        precision=dot_precision(),
        interpreted=is_interpreted(merged_tile),
        token_tile=token_tile,
        tile=GRADIENT_TILE,
    )
    return shares.sum(dim=0).view(samples, -1, experts).sum(dim=1)


def token_tile_of(x: Tensor) -> int:
    """How many tokens of a sample a program takes: all of them, if possible."""
    most = MOST_BYTES // x.element_size()
    return min(max(FEWEST_TOKENS, triton.next_power_of_2(x.shape[1])), most)


def dot_precision() -> str:
    """Of products in float32: what PyTorch's own may use."""
    return "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32"
