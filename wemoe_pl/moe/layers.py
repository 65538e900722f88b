"""Define `WeightEnsemblingMoE`, an MLP whose weights are mixed per sample (paper §3.2)."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from torch import Tensor, nn

from wemoe_pl.errors import MergeError
from wemoe_pl.moe.compression import Compression
from wemoe_pl.moe.dense import DENSE
from wemoe_pl.moe.kernels import NORMS, merged_mlp, store_fc2_by_columns, why_mapped
from wemoe_pl.moe.mixture import Mixture, RoutingMode
from wemoe_pl.moe.router import NO_GATE, ROUTER_INIT_STD, Gate, Router
from wemoe_pl.moe.scaling import DEFAULT_SCALING
from wemoe_pl.moe.task_vectors import Model
from wemoe_pl.system.warn import warn


class WeightEnsemblingMoE(Mixture):
    """The mixture of an MLP adds task vectors to its pretrained weights, weighted by a router.

    Args:
        pretrained_mlp: an MLP of timm's form (`fc1`, `act`, `fc2`, optional norm and gates).
        expert_mlps: T fine-tuned copies of it, or their weights by name.
        init_lambda: λ, the routing weight of every expert before adaptation, 0 to 1.
        router_depth: the depth of the router: 0, 1 or 2.
        routing: the routing mode: "sample" routes every sample by itself, as the paper does;
            "batch" gives a batch the mean of its routing weights, as the best known
            re-implementation does.
        init_std: the standard deviation of the router's initial weights.
        compression: the form in which the dictionary is stored.
        gate: the gate that turns the router's scores into routing weights.
        router_width: the number of the router's hidden units; by default the width of the tokens.

    Raises:
        MergeError: there is no expert, the MLP has another form, or keys or shapes differ.

    Attributes:
        one_by_one: True if the MLP must see every sample alone, which is slow.

    >>> import torch
    >>> from timm.layers import Mlp
    >>> moe = WeightEnsemblingMoE(Mlp(8, 32), [Mlp(8, 32), Mlp(8, 32)])
    >>> moe(torch.randn(4, 5, 8)).shape
    torch.Size([4, 5, 8])
    """

    def __init__(
        self,
        pretrained_mlp: nn.Module,
        expert_mlps: Sequence[Model],
        init_lambda: float = DEFAULT_SCALING,
        router_depth: int = 2,
        routing: RoutingMode = "sample",
        init_std: float = ROUTER_INIT_STD,
        compression: Compression = DENSE,
        gate: Gate = NO_GATE,
        router_width: int | None = None,
    ):
        super().__init__()
        width = mlp_width(pretrained_mlp)
        reason = why_mapped(pretrained_mlp)
        self.one_by_one = reason is not None
        if reason:
            warn(
                f"Every {type(pretrained_mlp).__name__} runs sample by sample, which takes several "
                f"times as long: {reason}."
            )
        self.mlp = store_fc2_by_columns(deepcopy(pretrained_mlp).requires_grad_(False))
        start = init_lambda, router_depth, init_std
        router = Router(width, len(expert_mlps), *start, gate, router_width)
        self.add_experts(expert_mlps, router, routing, compression)

    @property
    def pretrained(self) -> nn.Module:
        """Return the pretrained MLP."""
        return self.mlp

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, N, D) → (B, N, D), or (B, D) → (B, D).

        Raises:
            MergeError: the input has another number of dimensions.
        """
        if x.ndim not in (2, 3):
            raise MergeError(
                f"A mixture takes tokens (B, N, D) or features (B, D), not {tuple(x.shape)}: "
                "only encoders whose MLPs see such inputs can be upscaled."
            )
        return merged_mlp(self.mlp, self.task_vectors, self.route(x), x, self.one_by_one)


def first_layer(mlp: nn.Module) -> tuple[str, Any]:
    """Return the name and the first layer of an MLP of timm's form; the layer of others is None."""
    name = "fc1" if getattr(mlp, "fc1", None) else "fc1_g"
    return name, getattr(mlp, name, None)


def mlp_width(mlp: nn.Module) -> int:
    """Return D of an MLP of timm's form; raise `MergeError` with the class name of any other."""
    _, first = first_layer(mlp)
    per_token = (nn.Linear, *NORMS)
    weighted = [m for m in mlp.children() if next(m.parameters(), None) is not None]
    foreign = [type(m).__name__ for m in weighted if not isinstance(m, per_token)]
    if not (isinstance(first, nn.Linear) and isinstance(getattr(mlp, "fc2", None), nn.Linear)):
        raise MergeError(
            f"Cannot upscale an MLP of class {type(mlp).__name__}: it is not of timm's form "
            "(linear fc1 or fc1_g, act, linear fc2)."
        )
    if foreign:
        raise MergeError(
            f"Cannot upscale an MLP of class {type(mlp).__name__}: its {foreign[0]} is not known "
            "to treat every token separately, as a linear layer or a LayerNorm does."
        )
    return first.in_features
