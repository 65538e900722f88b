"""Measure task vectors: lengths, cosines, the length of their sum, and conflicts of signs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from wemoe_pl.checkpoints import State
from wemoe_pl.moe.task_vectors import lazy_task_vector, trim
from wemoe_pl.reporting.analysis import cosine_of, gram_matrices, layer_of
from wemoe_pl.reporting.plots.style import FloatArray

ALL = "all"
KEEP = 0.2  # the share of entries that TIES keeps (arXiv 2306.01708)


@dataclass(frozen=True)
class TaskVectorFigures:
    """`TaskVectorFigures` hold all that is measured of the task vectors of T experts.

    Args:
        tasks: the T tasks.
        norms: ‖θ₀‖ of each layer, and of "all".
        grams: the inner products of all pairs of task vectors, (T, T), of each layer and of "all".
        conflicts: the share of entries whose signs differ, for the first 2, 3, …, T tasks.
    """

    tasks: tuple[str, ...]
    norms: Mapping[str, float]
    grams: Mapping[str, FloatArray]
    conflicts: tuple[float, ...]

    def lengths(self, layer: str = ALL) -> FloatArray:
        """Return ‖τ‖ ÷ ‖θ₀‖ of each task in a layer, (T,); infinite where ‖θ₀‖ is 0."""
        vectors = np.sqrt(self.grams[layer].diagonal())
        norm = self.norms[layer]
        return vectors / norm if norm else np.where(vectors > 0, math.inf, 0.0)

    def cosines(self, layer: str = ALL) -> FloatArray:
        """Return the cosines of all pairs of task vectors in a layer, (T, T)."""
        return cosine_of(self.grams[layer])

    @property
    def norm_ratio(self) -> float:
        """Return the length of the longest task vector divided by that of the shortest."""
        lengths = self.lengths()
        return float(lengths.max() / lengths.min())

    @property
    def mean_cosine(self) -> float:
        """Return the mean cosine over all pairs of different tasks."""
        others = ~np.eye(len(self.tasks), dtype=bool)
        return float(self.cosines()[others].mean())

    @property
    def shown_mean_cosine(self) -> str:
        """Return the mean cosine as text, which has no sign if it rounds to 0."""
        return f"{round(self.mean_cosine, 2) + 0.0:.2f}"

    @property
    def nearest(self) -> tuple[float, str, str]:
        """Return the largest cosine of two different tasks, and both tasks."""
        cosines = self.cosines() - 2 * np.eye(len(self.tasks))
        i, j = np.unravel_index(cosines.argmax(), cosines.shape)
        first, second = sorted((int(i), int(j)))
        return float(cosines[i, j]), self.tasks[first], self.tasks[second]

    @property
    def outside(self) -> FloatArray:
        """Return the inner products of the parts of task vectors outside the MLPs, (T, T)."""
        inside = sum(gram for layer, gram in self.grams.items() if layer.endswith(".mlp"))
        return np.asarray(self.grams[ALL] - inside)

    @property
    def share_outside(self) -> float:
        """Return the mean share of ‖τ‖² that lies outside the MLPs, 0 to 1."""
        return float((self.outside.diagonal() / self.grams[ALL].diagonal()).mean())

    def reach(self, scaling: float, count: int | None = None) -> float:
        """Return ‖λ Σ τ‖ ÷ max ‖τ‖ of the first `count` tasks, by default all."""
        return reach_of(self.grams[ALL][:count, :count], scaling)

    def reach_outside(self, scaling: float) -> float:
        """Return ‖λ Σ τ‖ ÷ max ‖τ‖ of what lies outside the MLPs."""
        return reach_of(self.outside, scaling)

    @property
    def stock(self) -> float:
        """Return t = T c ÷ (1 + (T − 1) c) of Model Stock, from the mean cosine c, 0 if c < 0."""
        count, cosine = len(self.tasks), max(0.0, self.mean_cosine)
        return count * cosine / (1 + (count - 1) * cosine)


def measure(pretrained: State, experts: Mapping[str, State]) -> TaskVectorFigures:
    """Measure the task vectors of some experts.

    One tensor of each expert is in memory at once, and one whole task vector, to be trimmed.
    """
    states = list(experts.values())
    return TaskVectorFigures(
        tasks=tuple(experts),
        norms=norms_of(pretrained),
        grams=gram_matrices(pretrained, states),
        conflicts=conflicts_of(pretrained, states),
    )


def norms_of(state: State) -> dict[str, float]:
    """Return the Euclidean norm of each layer, and of "all"."""
    found: dict[str, list[float]] = {}
    for key, tensor in state.items():
        if tensor.is_floating_point():
            norm = torch.linalg.vector_norm(tensor.double()).item()
            for layer in (layer_of(key), ALL):
                found.setdefault(layer, []).append(norm)
    return {layer: math.hypot(*norms) for layer, norms in found.items()}


def reach_of(gram: FloatArray, scaling: float) -> float:
    """Return ‖λ Σ τ‖ ÷ max ‖τ‖ from inner products (T, T); 0 if all task vectors are 0.

    >>> reach_of(np.eye(4), scaling=0.5)  # four task vectors of one length, at right angles
    1.0
    """
    longest = math.sqrt(gram.diagonal().max())
    return scaling * math.sqrt(max(0.0, float(gram.sum()))) / longest if longest else 0.0


def conflicts_of(pretrained: State, experts: Sequence[State]) -> tuple[float, ...]:
    """Return the share of entries with both signs, for the first 2, 3, …, T experts.

    Task vectors are trimmed as by TIES, each to its largest entries. Counted are the entries that
    at least one of the trimmed task vectors has.
    """
    trimmed = [trim(lazy_task_vector(pretrained, expert), KEEP) for expert in experts]
    kept, clashing = [0] * len(trimmed), [0] * len(trimmed)
    for key, shape in trimmed[0].shapes.items():
        positive, negative = torch.zeros(2, *shape, dtype=torch.bool)
        for place, vector in enumerate(trimmed):
            signs = vector[key].sign()
            positive |= signs > 0
            negative |= signs < 0
            kept[place] += int((positive | negative).sum())
            clashing[place] += int((positive & negative).sum())
    return tuple(
        both / either if either else 0.0
        for both, either in zip(clashing[1:], kept[1:], strict=True)
    )
