"""What the mixture is compared with: the plain MLP, the loop over samples, and fusion-bench."""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.func import functional_call

from wemoe_pl.errors import ConfigError
from wemoe_pl.moe.dense import DenseVectors
from wemoe_pl.moe.layers import WeightEnsemblingMoE

Layer = Callable[[Tensor], Tensor]


def loop_over_samples(moe: WeightEnsemblingMoE) -> Layer:
    """The straightforward form: merge the weights of one sample, run it, and go on.

    Args:
        moe: whose router, pretrained MLP and dense dictionary are used.
    """
    pretrained: dict[str, Tensor] = dict(moe.mlp.named_parameters())
    stacked = {
        name: vectors.stacked
        for name, vectors in moe.task_vectors.items()
        if isinstance(vectors, DenseVectors)
    }

    def run(x: Tensor) -> Tensor:
        outputs = []
        for sample, shares in zip(x, moe.router(x), strict=True):
            weights = pretrained
            for i, share in enumerate(shares):
                weights = {name: w + share * stacked[name][i] for name, w in weights.items()}
            outputs.append(functional_call(moe.mlp, weights, (sample,)))
        return torch.stack(outputs)

    return run


def fusion_bench_layers(
    pretrained: nn.Module, experts: list[nn.Module], width: int, depth: int
) -> dict[str, nn.Module]:
    """The module of the `fusion-bench` package, per sample and per batch; nothing without it.

    Raises:
        ConfigError: the package is there, but something that it needs is not.
    """
    try:
        from fusion_bench.models.we_moe import WeightEnsemblingMoE as Theirs
    except ModuleNotFoundError as missing:
        if missing.name == "fusion_bench":
            return {}
        raise ConfigError(
            f"fusion-bench is installed, but not {missing.name}, which it needs: "
            "install it too, or uninstall fusion-bench."
        ) from missing
    names = {"fusion-bench": False, "fusion-bench, per batch": True}
    return {
        name: Theirs(
            hidden_size=width,
            base_model=deepcopy(pretrained).requires_grad_(True),  # it skips what is frozen
            expert_models=[deepcopy(expert) for expert in experts],
            init_lambda=0.3,
            batch_first=True,
            router_hidden_layers=depth,
            batch_reduce=per_batch,
        )
        for name, per_batch in names.items()
    }
