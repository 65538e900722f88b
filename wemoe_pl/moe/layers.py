"""`Router` and `WeightEnsemblingMoE`: an MLP whose weights are mixed per sample (paper §3.2)."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Literal

import torch
from torch import Tensor, nn

from wemoe_pl.errors import MergeError
from wemoe_pl.moe.compression import Compression, Reader
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.dictionary import Dictionary
from wemoe_pl.moe.kernels import NORMS, hidden_mean, merged_mlp, store_fc2_by_columns, why_mapped
from wemoe_pl.moe.routed import Routed
from wemoe_pl.moe.scaling import DEFAULT_SCALING, check_scaling
from wemoe_pl.moe.task_vectors import Model, check_compatible, state_of
from wemoe_pl.system.warn import warn

ROUTER_DEPTHS = (0, 1, 2)
ROUTER_INIT_STD = 0.01
RoutingMode = Literal["sample", "batch"]
DENSE = Dense()


def check_router_depth(router_depth: int) -> None:
    """Raise `MergeError` unless the router depth is 0, 1 or 2."""
    if router_depth not in ROUTER_DEPTHS:
        raise MergeError(f"router_depth is {router_depth}: choose 0, 1 or 2; the paper uses 2.")


class Router(nn.Module):
    """Maps the MLP's input to one routing weight per expert: no softmax, no clamp.

    It is the scaling coefficient of the expert's task vector, and no share: weights need not sum to
    one, and may be negative.

    Depth 0 is a free vector, depth 1 `Linear(D, T)`, depth 2 `Linear(D, D) → ReLU → Linear(D, T)`.
    Weights start at N(0, init_std²), the last bias at λ: at first all samples get task arithmetic.

    Args:
        dim: D, the width of the tokens.
        num_experts: T.
        init_lambda: the scaling coefficient λ, the initial routing weight of every expert.
        depth: 0, 1 or 2.
        init_std: standard deviation of the initial weights.

    >>> Router(dim=8, num_experts=3, depth=1)(torch.zeros(2, 5, 8))
    tensor([[0.3000, 0.3000, 0.3000],
            [0.3000, 0.3000, 0.3000]], grad_fn=<AddmmBackward0>)
    """

    def __init__(
        self,
        dim: int,
        num_experts: int,
        init_lambda: float = DEFAULT_SCALING,
        depth: int = 2,
        init_std: float = ROUTER_INIT_STD,
    ):
        super().__init__()
        check_scaling(init_lambda)
        check_router_depth(depth)
        self.depth = depth
        if depth == 0:
            self.weights = nn.Parameter(torch.full((num_experts,), float(init_lambda)))
            return
        self.hidden = nn.Linear(dim, dim) if depth == 2 else None
        self.out = nn.Linear(dim, num_experts)
        for layer in (self.hidden, self.out):
            if layer is not None:
                nn.init.normal_(layer.weight, std=init_std)
                nn.init.zeros_(layer.bias)
        nn.init.constant_(self.out.bias, init_lambda)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, N, D), or features (B, D), → routing weights (B, T), averaged over tokens."""
        if self.depth == 0:
            return self.weights.expand(x.shape[0], -1)
        tokens = x if x.ndim == 3 else x[:, None]
        # The last layer is linear, so averaging before it gives the same value for less work.
        if self.hidden is None:
            return self.out(tokens.mean(dim=1))
        return self.out(hidden_mean(tokens, self.hidden.weight, self.hidden.bias))


class WeightEnsemblingMoE(Routed):
    """The pretrained MLP plus the dictionary of its task vectors, mixed per sample by a router.

    Sample b runs through W0 + Σ_i r_bi τ_i, weights and biases alike, where r_b is the router's
    answer to that sample's own tokens: the output never depends on the rest of the batch, unless
    `routing` is "batch".

    Args:
        pretrained_mlp: an MLP of timm's form (`fc1`, `act`, `fc2`, optional norm and gates).
        expert_mlps: T fine-tuned copies of it, or their weights by name.
        init_lambda: λ, the routing weight of every expert before adaptation, 0 to 1.
        router_depth: 0, 1 or 2.
        routing: "sample" routes every sample by itself, as the paper does; "batch" gives a batch
            the mean of its routing weights, as the best known re-implementation does.
        init_std: of the router's initial weights.
        compression: how the dictionary is stored.

    Raises:
        MergeError: no expert, an MLP of another form, or keys or shapes that differ.

    Attributes:
        router: the only trainable part.
        one_by_one: must the MLP see every sample alone, which is slow?

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
    ):
        super().__init__()
        dim = mlp_width(pretrained_mlp)
        reason = why_mapped(pretrained_mlp)
        self.one_by_one = reason is not None
        if reason:
            warn(
                f"Every {type(pretrained_mlp).__name__} runs sample by sample, which takes several "
                f"times as long: {reason}."
            )
        self.mlp = store_fc2_by_columns(deepcopy(pretrained_mlp).requires_grad_(False))
        self.task_vectors = store_task_vectors(self.mlp, expert_mlps, compression)
        self.task_vectors.take_in(self.mlp)
        self.router = Router(dim, len(expert_mlps), init_lambda, router_depth, init_std)
        self.routing = routing
        weight = next(pretrained_mlp.parameters())
        self.router.to(device=weight.device, dtype=weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) → (B, N, D), or (B, D) → (B, D).

        Raises:
            MergeError: the input has another number of dimensions.
        """
        if x.ndim not in (2, 3):
            raise MergeError(
                f"A mixture takes tokens (B, N, D) or features (B, D), not {tuple(x.shape)}: "
                "only encoders whose MLPs see such inputs can be upscaled."
            )
        routing_weights = self.router(x)
        if self.routing == "batch":
            routing_weights = routing_weights.mean(dim=0, keepdim=True)
        elif self.router.depth == 0:
            routing_weights = self.router.weights[None]
        # `shape[0]`, since `len` would give an exported program batches of this size only.
        self.record(routing_weights.expand(x.shape[0], -1))
        return merged_mlp(self.mlp, self.task_vectors, routing_weights, x, self.one_by_one)

    @torch.no_grad()
    def fold(self) -> nn.Module:
        """A plain MLP of the same function, which there is when every input is routed alike.

        Raises:
            MergeError: the router looks at its input.
        """
        if self.router.depth != 0:
            raise MergeError(
                f"A router of depth {self.router.depth} mixes weights for every input anew: only "
                "depth 0 folds into plain weights."
            )
        folded = deepcopy(self.mlp)
        for name, mixed in self.task_vectors.mix(self.router.weights[None]).items():
            folded.get_parameter(name).add_(mixed[0])
        return folded


def first_layer(mlp: nn.Module) -> tuple[str, Any]:
    """The first layer of an MLP of timm's form, with its name there; None of any other."""
    name = "fc1" if getattr(mlp, "fc1", None) else "fc1_g"
    return name, getattr(mlp, name, None)


def mlp_width(mlp: nn.Module) -> int:
    """D of an MLP of timm's form; raise `MergeError` that names the class of any other."""
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
            f"Cannot upscale an MLP of class {type(mlp).__name__}: its {foreign[0]} is not "
            "known to treat every token alone, as a linear layer or a LayerNorm does."
        )
    return first.in_features


@torch.no_grad()
def store_task_vectors(
    pretrained_mlp: nn.Module, expert_mlps: Sequence[Model], compression: Compression
) -> Dictionary:
    """The dictionary of an MLP, parameter by parameter.

    Of the experts' weights one tensor at a time is held in memory, if they are read lazily.
    """
    if not expert_mlps:
        raise MergeError("There is no expert to merge: give at least one.")
    experts = [state_of(mlp) for mlp in expert_mlps]
    for i, expert in enumerate(experts):
        check_compatible(pretrained_mlp.state_dict(), expert, f"The MLP of expert {i}")

    def reader(name: str) -> Reader:
        return lambda i: experts[i][name]

    weights = pretrained_mlp.named_parameters()
    return Dictionary({n: compression.store(w, reader(n), len(experts)) for n, w in weights})
