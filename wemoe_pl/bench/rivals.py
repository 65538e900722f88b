"""Define the rivals of the mixture: a loop over samples, all weights at once, and fusion-bench."""

from collections.abc import Callable
from copy import deepcopy

from torch import Tensor, nn

from wemoe_pl.errors import ConfigError
from wemoe_pl.moe.dense import DenseVectors
from wemoe_pl.moe.kernels.naive import naive_mlp
from wemoe_pl.moe.kernels.plain import untiled_mlp
from wemoe_pl.moe.kernels.two_layers import two_layers
from wemoe_pl.moe.layers import WeightEnsemblingMoE

Layer = Callable[[Tensor], Tensor]


def loop_over_samples(moe: WeightEnsemblingMoE) -> Layer:
    """Return the naive form of a mixture, which merges and runs one sample after another.

    Args:
        moe: the mixture whose router, pretrained MLP and dense dictionary are used.
    """
    stored = moe.task_vectors.items()
    stacked = {name: v.stacked for name, v in stored if isinstance(v, DenseVectors)}
    return lambda x: naive_mlp(moe.mlp, stacked, moe.router(x), x)


def all_at_once(moe: WeightEnsemblingMoE) -> Layer:
    """Return a form that merges the weights of all samples at once, and has a `bmm` per layer.

    Args:
        moe: the mixture whose router, pretrained MLP and dictionary are used.
    """
    layers = two_layers(moe.mlp, moe.task_vectors)
    assert layers is not None
    return lambda x: untiled_mlp(layers, moe.router(x), x)


def fusion_bench_layers(
    pretrained: nn.Module, experts: list[nn.Module], width: int, depth: int
) -> dict[str, nn.Module]:
    """Return modules of the `fusion-bench` package, per sample and per batch; none without it.

    Raises:
        ConfigError: the package is installed, but something that it needs is not.
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
            base_model=deepcopy(pretrained).requires_grad_(True),  # it skips frozen weights
            expert_models=[deepcopy(expert) for expert in experts],
            init_lambda=0.3,
            batch_first=True,
            router_hidden_layers=depth,
            batch_reduce=per_batch,
        )
        for name, per_batch in names.items()
    }
