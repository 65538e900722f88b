"""Define the Triton kernels of a merged linear layer: its product, and the routing gradient.

A program gets pointers to its operands, the number of entries of each dimension, and their strides:
`x_n` is the stride of x along its tokens n. It masks entries that lie outside.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

try:
    import triton  # type: ignore[import-untyped]
    import triton.language as tl  # type: ignore[import-untyped]
    from triton.language import constexpr
except ImportError:  # Triton exists for Linux only
    triton = None

AMPERE = 8  # the first generation whose matrix units compute in bfloat16 and tf32


def jit(function: Callable[..., None]) -> Any:
    """Apply `triton.jit`; return the function unchanged if there is no Triton."""
    return triton.jit(function) if triton else function


def tuned(*choices: dict[str, int]) -> Callable[[Any], Any]:
    """Make a kernel use the tiles and warps that are fastest on its first call with a shape.

    Args:
        choices: the choices of `num_warps`, `num_stages`, and sizes of tiles that the kernel takes.
    """

    def tune(function: Any) -> Any:
        if triton is None:
            return function
        # A row-major and a column-major dictionary are read in different ways.
        key = ["tokens", "rows", "columns", "experts", "vectors_m"]
        configs = [config(**choice) for choice in choices]
        return triton.autotune(configs[:1] if is_interpreted(function) else configs, key)(function)

    return tune


def config(num_warps: int, num_stages: int, **tile: int) -> Any:
    """Return a choice as a `triton.Config`."""
    return triton.Config(tile, num_warps=num_warps, num_stages=num_stages)


def is_interpreted(function: Any) -> bool:
    """Return whether a kernel was defined under TRITON_INTERPRET=1, so that it runs on the CPU."""
    return triton is not None and not isinstance(function, triton.JITFunction)


def available(x: Tensor) -> bool:
    """Return whether kernels can run where x is: on CUDA, or interpreted.

    A CUDA device must have a compute capability of 8 or more.

    On a device, Triton needs a C compiler for the code that starts its kernels. Its interpreter,
    for tests, takes every device; TRITON_INTERPRET=1 must be set before this module is imported.
    """
    if triton is None:
        return False
    on_gpu = x.is_cuda and torch.version.cuda is not None and has_compiler()
    return is_interpreted(merged_tile) or (
        on_gpu and torch.cuda.get_device_capability(x.device)[0] >= AMPERE
    )


@cache
def has_compiler() -> bool:
    """Return whether there is a C compiler for Triton to call; without one it raises in mid-run."""
    return "CC" in os.environ or any(map(shutil.which, ("gcc", "clang")))


@jit
def merged_tile(
    weight: tl.tensor, vectors: tl.tensor, routing: tl.tensor, inside: tl.tensor,
    vectors_t: int, routing_t: int, experts: constexpr, wide: constexpr,
) -> tl.tensor:  # fmt: skip
    """Return W0 + Σ_t r_t τ_t of a tile of weights; entries that do not lie inside are 0."""
    merged = tl.load(weight, mask=inside, other=0.0).to(wide)
    for t in tl.static_range(experts):
        share = tl.load(routing + t * routing_t).to(wide)
        merged += share * tl.load(vectors, mask=inside, other=0.0).to(wide)
        # Step by step: `t * vectors_t` may need more than 32 bits.
        vectors += vectors_t
    return merged


@jit
def plus_product(
    total: tl.tensor, left: tl.tensor, right: tl.tensor,
    precision: constexpr, interpreted: constexpr,
) -> tl.tensor:  # fmt: skip
    """Return total + left · right, of tiles that lie in registers."""
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
@jit
def multiply_tile(
    out: tl.tensor, x: tl.tensor, weight: tl.tensor, vectors: tl.tensor, routing: tl.tensor,
    tokens: int, rows: int, columns: int,
    out_b: int, out_n: int, out_m: int,
    x_b: int, x_n: int, x_k: int,
    weight_m: int, weight_k: int,
    vectors_t: int, vectors_m: int, vectors_k: int,
    routing_b: int, routing_t: int,
    experts: constexpr, precision: constexpr, interpreted: constexpr,
    token_tile: constexpr, row_tile: constexpr, column_tile: constexpr,
) -> None:  # fmt: skip
    """Compute out[b, n, m] = Σ_k x[b, n, k] W_b[m, k], for some n and m of sample b.

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
@jit
def contract_tile(
    shares: tl.tensor, gradient: tl.tensor, x: tl.tensor, vectors: tl.tensor,
    parts: int, tokens: int, rows: int, columns: int,
    gradient_b: int, gradient_n: int, gradient_m: int,
    x_b: int, x_n: int, x_k: int,
    vectors_t: int, vectors_m: int, vectors_k: int,
    experts: constexpr, precision: constexpr, interpreted: constexpr,
    token_tile: constexpr, tile: constexpr,
) -> None:  # fmt: skip
    """Compute shares[·, p, t] = Σ_mk (Σ_n gradient[b, n, m] x[b, n, k]) τ_t[m, k], for some m, k.

    Part p is some tokens n of one sample b. The gradient of the sample's weights is formed part by
    part, contracted at once, and discarded.
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
