"""Run a module's own forward, such as that of an MLP, with merged linear layers and norms.

The forward runs on a copy of the module in which these layers are replaced, so that everything else
is kept: gates, attention, activations of any kind, dropout, hooks. This is correct only if the
forward calls its layers, and calls them with the samples in their order. The forward of timm's MLPs
does, and that of any other class is tried once.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy, deepcopy
from functools import partial
from typing import Any

import torch
from timm.layers import LayerNorm, LayerNormFp32, RmsNorm, RmsNormFp32
from timm.layers.mlp import GatedMlp, GluMlp, Mlp, SwiGLU
from torch import Tensor, nn
from torch.func import functional_call

from wemoe_pl.moe.compression import TaskVectors
from wemoe_pl.moe.dense import DenseVectors
from wemoe_pl.moe.dictionary import Dictionary
from wemoe_pl.moe.kernels.choice import choose_linear_kernel
from wemoe_pl.moe.kernels.merged_layer import MergedLayer, by_sample

NORMS = (nn.LayerNorm, nn.RMSNorm, LayerNorm, LayerNormFp32, RmsNorm, RmsNormFp32)
KNOWN_FORMS = (Mlp, GluMlp, SwiGLU, GatedMlp)  # their forward calls every layer as it is
# The sizes of a trial, which are all different, so that no shapes fit by chance.
TRIED_SAMPLES, TRIED_TOKENS, TRIED_EXPERTS = 3, 5, 2
tried: dict[tuple[type, str], str | None] = {}  # by class and settings, as long as the program runs


def own_forward(
    module: nn.Module,
    dictionary: Dictionary,
    routing_weights: Tensor,
    x: Tensor,
    *args: Any,
    **kwargs: Any,
) -> Tensor:
    """Run a module with merged layers; `why_mapped` says for which modules this is correct.

    Args:
        module: the module, the same as for `merged_module`.
        dictionary: the task vectors of each of its parameters.
        routing_weights: the routing weights, (B, T), or (1, T) for all samples together.
        x: the input, (B, …, D).
        *args: further arguments of its forward.
        **kwargs: further keyword arguments of its forward.
    """
    vectors = dict(dictionary.items())
    if torch.compiler.is_exporting():
        with merged_in_place(module, vectors, routing_weights):
            out: Tensor = module(x, *args, **kwargs)
    else:
        out = with_merged_weights(module, vectors, routing_weights)(x, *args, **kwargs)
    return out


@contextmanager
def merged_in_place(
    module: nn.Module, vectors: Mapping[str, TaskVectors], routing_weights: Tensor
) -> Iterator[None]:
    """Give the layers of a module itself, rather than of a copy, merged weights in a `with` block.

    This is for an exporter, which runs a module once, and replaces modules in a way that does not
    work with the copies of `with_merged_weights`.
    """
    weighted = {name: layer for name, layer in module.named_modules() if layer._parameters}
    for name, layer in weighted.items():
        layer.forward = merged_forward(layer, vectors, routing_weights, name)
    try:
        yield
    finally:
        for layer in weighted.values():
            del layer.forward


def with_merged_weights(
    module: nn.Module, vectors: Mapping[str, TaskVectors], routing_weights: Tensor, name: str = ""
) -> nn.Module:
    """Copy a module; the copy shares all but the layers with weights, which are merged.

    Args:
        module: the whole, or a part of it.
        vectors: the task vectors of the whole's parameters, by their names.
        routing_weights: the routing weights, (B, T), or (1, T) for all samples together.
        name: the name of the part.
    """
    copied = copy(module)
    copied._modules = {
        own: child and with_merged_weights(child, vectors, routing_weights, f"{name}.{own}")
        for own, child in module._modules.items()
    }
    if module._parameters:
        # A forward that reads the weights, instead of calling the layer, finds none.
        copied._parameters = dict.fromkeys(module._parameters)
        copied.forward = merged_forward(module, vectors, routing_weights, name.removeprefix("."))
    return copied


def merged_forward(
    layer: nn.Module, vectors: Mapping[str, TaskVectors], routing_weights: Tensor, name: str
) -> Callable[[Tensor], Tensor]:
    """Return the forward, with merged weights, of the linear layer or norm with this name."""
    run = merged_linear if isinstance(layer, nn.Linear) else merged_norm
    return partial(run, layer, vectors, routing_weights, name)


def merged_linear(
    linear: nn.Module,
    vectors: Mapping[str, TaskVectors],
    routing_weights: Tensor,
    name: str,
    x: Tensor,
) -> Tensor:
    """Run a linear layer with merged weights: (B, …, n) → (B, …, m)."""
    layer = MergedLayer.of(linear, vectors, name)
    dtype, device = layer.weight.dtype, x.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
    tokens = by_sample(x, routing_weights).to(dtype)
    routing_weights = routing_weights.to(dtype)
    with torch.autocast(device, enabled=False):
        kernel = choose_linear_kernel(layer, routing_weights, tokens)
        out = kernel(layer, routing_weights, tokens)
    return out.view(*x.shape[:-1], out.shape[-1])


def merged_norm(
    norm: nn.Module,
    vectors: Mapping[str, TaskVectors],
    routing_weights: Tensor,
    name: str,
    x: Tensor,
) -> Tensor:
    """Run a norm with merged weights: (B, …, n) → the same."""
    plain = copy(norm)
    plain._parameters = dict.fromkeys(norm._parameters)
    out: Tensor = by_sample(type(norm).forward(plain, x), routing_weights)
    merged = {
        own: weight + vectors[f"{name}.{own}"].mix(routing_weights.to(weight.dtype))
        for own, weight in norm.named_parameters()
    }
    if "weight" in merged:
        out = out * merged["weight"][:, None]
    if "bias" in merged:
        out = out + merged["bias"][:, None]
    return out.view(x.shape)


def why_mapped(module: nn.Module) -> str | None:
    """Return why a module must run sample by sample; None if it can run with merged layers."""
    for part in module.modules():
        weighted = any(weight is not None for weight in part._parameters.values())
        if weighted and type(part) not in (nn.Linear, *NORMS):
            return f"its {type(part).__name__} has weights of its own"
    if type(module) in KNOWN_FORMS:
        return None
    kind = type(module), repr(module)
    if kind not in tried:
        with torch.device("cpu"):  # numbers can be compared there, even for a model without memory
            tried[kind] = why_different(module)
    return tried[kind]


@torch.no_grad()
def why_different(module: nn.Module) -> str | None:
    """Return why merged layers give other outputs than samples one by one; None if they do not.

    The outputs are compared in float64, with random weights and task vectors.
    """
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64) / 8

    copied = deepcopy(module)
    tested = copied.to_empty(device="cpu") if is_meta(module) else copied.cpu()
    tested = tested.double().eval()
    for weight in tested.parameters():
        weight.copy_(draw(*weight.shape))
    weights = dict(tested.named_parameters())
    dictionary = Dictionary(
        {name: DenseVectors(draw(TRIED_EXPERTS, *w.shape)) for name, w in weights.items()}
    )
    width = next(m.in_features for m in tested.modules() if isinstance(m, nn.Linear))
    x, routing = draw(TRIED_SAMPLES, TRIED_TOKENS, width), draw(TRIED_SAMPLES, TRIED_EXPERTS)
    mixed = dictionary.mix(routing)

    def alone(b: int) -> Tensor:
        merged = {name: weight + mixed[name][b] for name, weight in weights.items()}
        out: Tensor = functional_call(tested, merged, (x[b : b + 1],))
        return out

    try:
        together = own_forward(tested, dictionary, routing, x)
        expected = torch.cat([alone(b) for b in range(TRIED_SAMPLES)])
        same = torch.allclose(together, expected, rtol=1e-6)
    except Exception as error:  # the forward of an unknown class may raise any
        return f"its forward does more with its layers than call them ({error})"
    return None if same else "its forward does not treat every sample separately"


def is_meta(module: nn.Module) -> bool:
    """Return whether a module has been built without memory for its weights."""
    return any(weight.is_meta for weight in module.parameters())
