"""Define `WeightEnsemblingAttention`, whose weights are mixed per sample, as in an MLP."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from torch import Tensor, nn

from wemoe_pl.errors import MergeError
from wemoe_pl.moe.compression import Compression
from wemoe_pl.moe.dense import DENSE
from wemoe_pl.moe.kernels import merged_module, why_mapped
from wemoe_pl.moe.mixture import Mixture, RoutingMode
from wemoe_pl.moe.router import NO_GATE, ROUTER_INIT_STD, Gate, Router
from wemoe_pl.moe.scaling import DEFAULT_SCALING
from wemoe_pl.moe.task_vectors import Model


class WeightEnsemblingAttention(Mixture):
    """The mixture of an attention adds task vectors to its pretrained weights for every sample.

    The paper merges attention by task arithmetic, since its eight experts hardly differ there.

    Args:
        pretrained_attention: an attention of timm, whose forward calls its linear layers and norms.
        expert_attentions: T fine-tuned copies of it, or their weights by name.
        init_lambda: λ, the routing weight of every expert before adaptation, 0 to 1.
        router_depth: the depth of the router: 0, 1 or 2.
        routing: the routing mode, "sample" or "batch"; see `WeightEnsemblingMoE`.
        init_std: the standard deviation of the router's initial weights.
        compression: the form in which the dictionary is stored; by default `Dense`.
        gate: the gate that turns the router's scores into routing weights.
        router_width: the number of the router's hidden units; by default the width of the tokens.

    Raises:
        MergeError: there is no expert, the attention has another form, or keys or shapes differ.

    >>> import torch
    >>> from timm.layers import Attention
    >>> attentions = [Attention(8, num_heads=2) for _ in range(3)]
    >>> moe = WeightEnsemblingAttention(attentions[0], attentions[1:])
    >>> moe(torch.randn(4, 5, 8)).shape
    torch.Size([4, 5, 8])
    """

    def __init__(
        self,
        pretrained_attention: nn.Module,
        expert_attentions: Sequence[Model],
        init_lambda: float = DEFAULT_SCALING,
        router_depth: int = 2,
        routing: RoutingMode = "sample",
        init_std: float = ROUTER_INIT_STD,
        compression: Compression = DENSE,
        gate: Gate = NO_GATE,
        router_width: int | None = None,
    ):
        super().__init__()
        width = attention_width(pretrained_attention)
        self.attn = deepcopy(pretrained_attention).requires_grad_(False)
        start = init_lambda, router_depth, init_std
        router = Router(width, len(expert_attentions), *start, gate, router_width)
        self.add_experts(expert_attentions, router, routing, compression)

    @property
    def pretrained(self) -> nn.Module:
        """Return the pretrained attention."""
        return self.attn

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Map (B, N, D) → (B, N, D); pass all other arguments on to the attention as they are."""
        return merged_module(self.attn, self.task_vectors, self.route(x), x, *args, **kwargs)


def attention_width(attention: nn.Module) -> int:
    """Return D, the width of the tokens, of an attention that can be mixed.

    Raises:
        MergeError: it has no linear layer, or `why_mapped` gives a reason against it.
    """
    first = next((m for m in attention.modules() if isinstance(m, nn.Linear)), None)
    reason = "it has no linear layer" if first is None else why_mapped(attention)
    if first is None or reason:
        raise MergeError(
            f"Cannot mix the weights of an attention of class {type(attention).__name__}: "
            f"{reason}. Leave out `attention`, and it is merged like everything else outside the "
            "MLPs."
        )
    return first.in_features
