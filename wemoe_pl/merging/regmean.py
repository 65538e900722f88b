"""Merge linear layers to reproduce the outputs of all experts best: RegMean (arXiv 2212.09849)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.from_samples import SampleMethod, Sums
from wemoe_pl.merging.normal_equations import nearest_solution
from wemoe_pl.moe.task_vectors import Model


@dataclass(frozen=True)
class RegMean(SampleMethod):
    """RegMean gives a linear layer W = (Σ Ĝ_i)⁻¹ Σ Ĝ_i W_i, and averages all other weights.

    G_i is the Gram matrix XᵀX of the inputs that expert i feeds to the layer, over samples of its
    task that need no labels. Ĝ_i is G_i with its off-diagonal entries shrunk.

    Args:
        off_diagonal: the factor on the off-diagonal entries, 0 (a mean weighted by input) to 1.
    """

    off_diagonal: float = 0.6
    needs_labels: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse a factor out of range."""
        if not 0.0 <= self.off_diagonal <= 1.0:
            raise MergeError(
                f"off_diagonal is {self.off_diagonal}: choose a number from 0 to 1, the factor on "
                "the off-diagonal entries of the Gram matrices."
            )

    def start(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> Sums:
        """Return sums that hold, for a layer of d inputs, d × d numbers and one per weight."""
        return GramSums(linear_layers(pretrained), self.off_diagonal)


class GramSums(Sums):
    """`GramSums` holds Σ Ĝ (d, d) and Σ Ĝ Wᵀ (d, out) of linear layers, in float64.

    Ĝ is a sum over samples, so both grow batch by batch, whatever the task.
    """

    def __init__(self, layers: Mapping[str, nn.Linear], off_diagonal: float):
        self.off_diagonal = off_diagonal
        self.gram = {name: zeros(layer, layer.in_features) for name, layer in layers.items()}
        self.target = {name: zeros(layer, layer.out_features) for name, layer in layers.items()}

    @torch.no_grad()
    def add(
        self, task: str, expert: nn.Module, head: nn.Module, images: Tensor, labels: Tensor
    ) -> None:
        """Run the expert, and add the inputs of its linear layers to the sums."""
        with self.watched(expert):
            expert(images)

    @contextmanager
    def watched(self, expert: nn.Module) -> Iterator[None]:
        """Add the inputs of an expert's linear layers to the sums while the block runs."""
        layers = linear_layers(expert)
        hooks = [
            layers[name].register_forward_pre_hook(partial(self.count, name)) for name in self.gram
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def count(self, name: str, layer: nn.Linear, inputs: tuple[Any, ...]) -> None:
        """Add the inputs (…, d) of a layer to its sums."""
        x = inputs[0].flatten(0, -2).double()
        weight = layer.weight.double().T
        gram, shrunk = x.T @ x, 1 - self.off_diagonal
        diagonal = gram.diagonal()
        self.gram[name] += self.off_diagonal * gram + shrunk * diagonal.diag()
        # G Wᵀ by way of the outputs x Wᵀ, which is less work where x has few rows.
        self.target[name] += self.off_diagonal * x.T @ (x @ weight)
        self.target[name] += shrunk * diagonal[:, None] * weight

    def solve(self, averages: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return merged weights, those nearest to the average where the inputs leave them open."""
        solved = {}
        for name, gram in self.gram.items():
            average = averages[f"{name}.weight"]
            weight = nearest_solution(gram, self.target[name], average.double().T)
            solved[f"{name}.weight"] = weight.T.to(average.dtype)
        return solved


def linear_layers(encoder: nn.Module) -> dict[str, nn.Linear]:
    """Return the linear layers of an encoder, by name."""
    return {name: m for name, m in encoder.named_modules() if isinstance(m, nn.Linear)}


def zeros(layer: nn.Linear, columns: int) -> Tensor:
    """Return zeros (d, columns) in float64 on the device of a layer, which has d inputs."""
    return layer.weight.new_zeros(layer.in_features, columns, dtype=torch.float64)
