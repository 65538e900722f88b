"""Define the form of MLP that kernels compute without its own `forward`: fc2(act(fc1 x))."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from timm import layers as timm_layers
from timm.layers import Mlp
from torch import Tensor, nn

from wemoe_pl.moe.dictionary import Dictionary
from wemoe_pl.moe.kernels.merged_layer import MergedLayer

# Activations that treat every entry by itself, so that some can be computed without others.
ELEMENTWISE = (
    nn.GELU, nn.ReLU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Tanh, nn.Sigmoid, nn.Identity,
    timm_layers.GELU, timm_layers.GELUTanh, timm_layers.QuickGELU,
)  # fmt: skip


@dataclass(frozen=True)
class TwoLayers:
    """A `TwoLayers` is an MLP of the form `second(act(first x))`."""

    first: MergedLayer
    act: Callable[[Tensor], Tensor]
    second: MergedLayer

    @property
    def layers(self) -> tuple[MergedLayer, ...]:
        """Return both layers."""
        return self.first, self.second

    @property
    def hidden(self) -> int:
        """Return H, the number of hidden units."""
        return len(self.first.weight)


# A kernel maps the layers, routing weights (B, T) and tokens (B, N, D) → (B, N, D).
Kernel = Callable[[TwoLayers, Tensor, Tensor], Tensor]


def two_layers(mlp: nn.Module, dictionary: Dictionary) -> TwoLayers | None:
    """Return the layers of an MLP `fc2(act(fc1 x))` with elementwise act; None for any other."""
    # A subclass, or a hook, may compute something else.
    if type(mlp) is not Mlp or any(has_hooks(module) for module in mlp.modules()):
        return None
    drops = mlp.training and (mlp.drop1.p or mlp.drop2.p)
    linear = type(mlp.fc1) is nn.Linear and type(mlp.fc2) is nn.Linear
    plain = linear and type(mlp.norm) is nn.Identity and type(mlp.act) in ELEMENTWISE
    if drops or not plain or getattr(mlp.act, "inplace", False):
        return None
    vectors = dict(dictionary.items())
    first, second = (MergedLayer.of(getattr(mlp, n), vectors, n) for n in ("fc1", "fc2"))
    return TwoLayers(first, mlp.act, second)


def has_hooks(module: nn.Module) -> bool:
    """Return whether a module has hooks, which see its inputs, outputs or gradients."""
    forward = module._forward_hooks or module._forward_pre_hooks
    return bool(forward or module._backward_hooks or module._backward_pre_hooks)


def store_fc2_by_columns(mlp: nn.Module) -> nn.Module:
    """Store the weight of `fc2` column by column, in place; its values do not change.

    A row of `fc1` and a column of `fc2` belong to one hidden unit and are read together.

    Returns:
        The same MLP.
    """
    last = getattr(mlp, "fc2", None)
    if isinstance(last, nn.Linear):
        with torch.no_grad():
            last.weight.data = last.weight.data.mT.contiguous().mT
    return mlp
