"""Choose the cheapest kernel for a merged MLP or, on a GPU, the fastest as timed.

The unit of costs is a multiply-add of a large matrix product. Slower operations count for more, as
measured by `wemoe-pl bench` on a CPU, which also shows where the chosen kernel is not the fastest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from wemoe_pl.moe.kernels.fused import fused_layer, fused_mlp, fuses
from wemoe_pl.moe.kernels.grouped import grouped_mlp, has_few_routings
from wemoe_pl.moe.kernels.merged_layer import LinearKernel, MergedLayer
from wemoe_pl.moe.kernels.plain import (
    activation_linear,
    activation_mlp,
    untiled_linear,
    untiled_mlp,
)
from wemoe_pl.moe.kernels.tiled import tiled_mlp
from wemoe_pl.moe.kernels.tiled_linear import tiled_linear
from wemoe_pl.moe.kernels.timing import interleaved
from wemoe_pl.moe.kernels.two_layers import Kernel, TwoLayers

Merged = TypeVar("Merged", TwoLayers, MergedLayer)

TYPICAL_SHAPE = (16, 50)  # samples and tokens for which the kernel of a traced program is chosen
BATCHED = 1.25  # cost of a multiply-add where every sample has weights of its own
MERGING = 3.3  # cost of a multiply-add of the product that merges weights, with only T columns
READING = 20.0  # cost of reading a number of the dictionary from memory, once per pass
REPEATS = 3
fastest_kernels: dict[tuple[object, ...], Any] = {}  # by load, as long as the program runs


@dataclass(frozen=True)
class Load:
    """A load is the size of a computation.

    Attributes:
        samples: B, the number of samples.
        tokens: N, the number of tokens of a sample.
        learning: True if there is a backward pass, to the tokens and to the routing weights.
    """

    samples: int
    tokens: int
    learning: bool


@dataclass(frozen=True)
class Kernels(Generic[Merged]):
    """A `Kernels` has the kernels for two layers with an activation in between, or for one layer.

    Attributes:
        activation: the kernel that applies W0 and every task vector to the tokens.
        untiled: the kernel that merges the weights of all samples at once.
        tiled: the kernel that merges the weights of a tile at a time.
        fused: the kernel that merges weights in the registers of a GPU.
        grouped: the kernel that merges the weights of a tile at a time, once for all samples that
            are routed alike, without gradients; None if there is no such kernel.
    """

    activation: Callable[[Merged, Tensor, Tensor], Tensor]
    untiled: Callable[[Merged, Tensor, Tensor], Tensor]
    tiled: Callable[[Merged, Tensor, Tensor], Tensor]
    fused: Callable[[Merged, Tensor, Tensor], Tensor]
    grouped: Callable[[Merged, Tensor, Tensor], Tensor] | None = None

    def choose(
        self, merged: Merged, routing_weights: Tensor, x: Tensor
    ) -> Callable[[Merged, Tensor, Tensor], Tensor]:
        """Return the kernel for tokens (B, N, D) and routing weights (B, T)."""
        # A compiler gets plain operations for a batch of any size, which it can fuse by itself.
        traced = torch.compiler.is_compiling() or x.is_meta
        samples, tokens = TYPICAL_SHAPE if traced else x.shape[:2]
        load = Load(samples, tokens, needs_gradients(routing_weights))
        if activation_space_cost(merged, load) < weight_space_cost(merged, load):
            return self.activation
        if traced:
            return self.untiled
        if x.is_cuda and fuses(merged, x):
            return fastest_kernel([self.tiled, self.fused], merged, routing_weights, x)
        # Looking for equal rows would mean waiting for an accelerator.
        may_group = not x.is_cuda and not needs_gradients(routing_weights, x)
        if self.grouped and may_group and has_few_routings(routing_weights):
            return self.grouped
        return self.tiled


MLP_KERNELS = Kernels[TwoLayers](activation_mlp, untiled_mlp, tiled_mlp, fused_mlp, grouped_mlp)
LINEAR_KERNELS = Kernels[MergedLayer](activation_linear, untiled_linear, tiled_linear, fused_layer)


def choose_kernel(mlp: TwoLayers, routing_weights: Tensor, x: Tensor) -> Kernel:
    """Return the kernel for a merged MLP of tokens (B, N, D)."""
    return MLP_KERNELS.choose(mlp, routing_weights, x)


def choose_linear_kernel(layer: MergedLayer, routing_weights: Tensor, x: Tensor) -> LinearKernel:
    """Return the kernel for a merged linear layer of tokens (B, N, n)."""
    return LINEAR_KERNELS.choose(layer, routing_weights, x)


def needs_gradients(*tensors: Tensor) -> bool:
    """Return whether there will be a backward pass to any of the tensors."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def weight_space_cost(merged: TwoLayers | MergedLayer, load: Load) -> float:
    """Return the cost of merging weights and using them: B·T·P and B·N·P (`tiled_mlp`).

    The backward pass takes both costs twice: it merges the weights once more and contracts their
    gradient with the dictionary, and has a product for the tokens and one for the weights.
    """
    layers = merged.layers
    experts = layers[0].vectors.count
    weights = sum(layer.weight.numel() for layer in layers)
    products = load.samples * (load.tokens * BATCHED + experts * MERGING) * weights
    reading = weights * experts * READING + sum(layer.vectors.unpack_cost for layer in layers)
    return products * (3 if load.learning else 1) + reading * (2 if load.learning else 1)


def activation_space_cost(merged: TwoLayers | MergedLayer, load: Load) -> float:
    """Return the cost of applying W0 and every task vector to all tokens (`activation_mlp`).

    It is B·N·P·(T + 1) if task vectors are dense. The backward pass needs the products for the
    tokens only.
    """
    layers = merged.layers
    applying = sum(layer.weight.numel() + layer.vectors.apply_cost for layer in layers)
    reading = sum(layer.vectors.numbers * READING for layer in layers)
    per_pass = load.samples * load.tokens * applying + reading
    return per_pass * (2 if load.learning else 1)


def fastest_kernel(
    kernels: Sequence[Callable[[Merged, Tensor, Tensor], Tensor]],
    merged: Merged,
    routing_weights: Tensor,
    x: Tensor,
) -> Callable[[Merged, Tensor, Tensor], Tensor]:
    """Return the fastest kernel for loads of this kind, as timed on the first of them.

    Kernels round differently. If torch was asked for deterministic algorithms, none is therefore
    timed, and the first is returned.

    Args:
        kernels: the kernels to choose from.
        merged: the layers.
        routing_weights: the routing weights, (B, T).
        x: the tokens, (B, N, D). Batches up to the next power of two are of one kind.
    """
    if torch.are_deterministic_algorithms_enabled():
        return kernels[0]
    learning = torch.is_grad_enabled() and routing_weights.requires_grad
    batch = 1 << (len(x) - 1).bit_length()
    weight = merged.layers[0].weight
    sizes: tuple[int, ...] = (batch, *x.shape[1:], len(weight), *routing_weights.shape[1:])
    kind = (*kernels, x.device, x.dtype, weight.dtype, learning, *sizes)
    if kind not in fastest_kernels:
        fastest_kernels[kind] = time_kernels(kernels, merged, routing_weights, x, learning)
    return fastest_kernels[kind]


def time_kernels(
    kernels: Sequence[Callable[[Merged, Tensor, Tensor], Tensor]],
    merged: Merged,
    routing_weights: Tensor,
    x: Tensor,
    learning: bool,
) -> Callable[[Merged, Tensor, Tensor], Tensor]:
    """Return the kernel with the least median time, backward included if something is learned."""
    inputs = [tensor.detach().requires_grad_(learning) for tensor in (routing_weights, x)]

    def run(kernel: Callable[[Merged, Tensor, Tensor], Tensor]) -> None:
        out = kernel(merged, *inputs)
        if learning:
            torch.autograd.grad(out, inputs, torch.ones_like(out))

    runs = {kernel: partial(run, kernel) for kernel in kernels}
    seconds = interleaved(runs, REPEATS, x.device.type)
    return min(kernels, key=seconds.__getitem__)
