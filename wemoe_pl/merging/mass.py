"""Merge for every image the experts that a first look at it chooses: MASS (arXiv 2504.05342)."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.rnn import pad_sequence

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.base import MergeMethod, blocks_of, checked_states, frozen_copy
from wemoe_pl.merging.matrix_method import matrix_shape
from wemoe_pl.merging.spectral import Decomposition, decompose
from wemoe_pl.merging.tsv import rank_of_each, side_by_side
from wemoe_pl.moe.compression import frozen
from wemoe_pl.moe.layers import first_layer
from wemoe_pl.moe.projection import ProjectionRouter, check_choice
from wemoe_pl.moe.task_vectors import Model, lazy_task_vector


@dataclass(frozen=True)
class MASS(MergeMethod):
    """MASS finds the tasks that an image may be of in a first pass, and merges them for a second.

    The leading min(m, n) / T singular values of every matrix of a task vector are kept. The first
    pass is through TSV-M of all tasks, except matrices that are too similar to an earlier task's.
    In one block the input of the MLP (its class token, or the mean of tokens if there is none)
    chooses tasks: see `ProjectionRouter`. The second pass is through TSV-M of the chosen tasks. If
    the task is not known, the rule "logit" can infer it: of the chosen tasks' heads, the one with
    the largest logit answers. Nothing is learned.

    All this follows the authors' code, whose numbers are the defaults. Three things are ours: a
    task whose task vector is 0 is the last to be chosen; one rule for the depth gives the code's
    block 9 of 12 and 20 of 24; images of a batch that choose the same tasks run together.

    Args:
        depth: the place of the block that chooses, from 0 for the first to 1 for the last.
        temperature: the temperature of the softmax over tasks, above 0.
        threshold: the weight above which a task is chosen, from 0 up to 1.
        most_experts: the largest number of tasks that are chosen.
        most_alike: the cosine between two tasks' vectors of a matrix above which the first pass
            leaves out the later one, from -1 to 1.
        cached: the number of merged models that are kept, the last used ones, from 1.
    """

    is_static = True

    depth: float = 0.85
    temperature: float = 1.0
    threshold: float = 0.2
    most_experts: int = 3
    most_alike: float = 0.3
    cached: int = 6

    def __post_init__(self) -> None:
        """Refuse values out of range before anything is loaded."""
        check_choice(self.temperature, self.threshold, self.most_experts)
        if not 0 <= self.depth <= 1:
            raise MergeError(f"depth of MASS is {self.depth}: choose a number from 0 to 1.")
        if not -1 <= self.most_alike <= 1:
            raise MergeError(
                f"most_alike of MASS is {self.most_alike}: choose a cosine, from -1 to 1."
            )
        if self.cached < 1:
            raise MergeError(f"cached of MASS is {self.cached}: choose a number from 1.")

    @torch.no_grad()
    def merge(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> nn.Module:
        """Return a frozen encoder; one tensor of the experts' weights is in memory at a time."""
        base = pretrained.state_dict()
        vectors = [lazy_task_vector(base, state) for state in checked_states(base, experts)]
        keys = list(vectors[0])
        parts = {
            key: task_vectors_of(torch.stack([vector[key] for vector in vectors])) for key in keys
        }
        everything = range(len(vectors))
        first = {key: base[key] + parts[key].merged(everything, self.most_alike) for key in keys}
        blocks = blocks_of(pretrained)
        block = round(self.depth * (len(blocks) - 1))
        name, _ = first_layer(blocks[block].get_submodule("mlp"))
        routing = parts[f"blocks.{block}.mlp.{name}.weight"]
        assert isinstance(routing, SingularVectors)
        has_class_token = getattr(pretrained, "cls_token", None) is not None
        choice = self.temperature, self.threshold, self.most_experts
        router = ProjectionRouter(routing.right, has_class_token, *choice)
        encoder = deepcopy(pretrained).requires_grad_(False)
        looking = frozen_copy(pretrained, {**base, **first})
        return MASSEncoder(encoder, looking, block, router, parts, self.cached)


class SingularVectors(nn.Module):
    """`SingularVectors` holds the leading singular vectors of one matrix of T task vectors.

    Args:
        tensors: the task vectors of the matrix, (T, *shape).
    """

    def __init__(self, tensors: Tensor):
        super().__init__()
        self.shape = tensors.shape[1:]
        precise = tensors.to(torch.promote_types(tensors.dtype, torch.float32))
        matrices = precise.reshape(len(tensors), *matrix_shape(tensors[0]))
        rank = rank_of_each(matrices)
        found = [decompose(matrix, rank) for matrix in matrices]
        # All are padded with 0 to the same rank; `part` takes the padding away again.
        columns = pad_sequence([one.left.T for one in found], batch_first=True)
        self.left = frozen(columns.mT.contiguous().to(tensors.dtype))
        values = pad_sequence([one.values for one in found], batch_first=True)
        self.values = frozen(values.to(tensors.dtype))
        rows = pad_sequence([one.right for one in found], batch_first=True)
        self.right = frozen(rows.to(tensors.dtype))

    def merged(self, tasks: Sequence[int], most_alike: float = 1.0) -> Tensor:
        """Return TSV-M of some tasks, except those too similar to an earlier one, (*shape)."""
        parts: list[Decomposition] = []
        for part in map(self.part, tasks):
            if self.left.is_meta or all(cosine(part, other) <= most_alike for other in parts):
                parts.append(part)
        return side_by_side(parts).reshape(self.shape).to(self.left.dtype)

    def part(self, task: int) -> Decomposition:
        """Return the task vector of one task, decomposed and without padding."""
        values = self.values[task]
        kept = len(values) if values.is_meta else int((values > 0).sum())
        parts = self.left[task, :, :kept], values[:kept], self.right[task, :kept]
        return Decomposition(*(p.to(torch.promote_types(p.dtype, torch.float32)) for p in parts))


class WholeVectors(nn.Module):
    """`WholeVectors` holds the task vectors of a tensor that is no matrix, (T, *shape)."""

    def __init__(self, tensors: Tensor):
        super().__init__()
        self.vectors = frozen(tensors)

    def merged(self, tasks: Sequence[int], most_alike: float = 1.0) -> Tensor:
        """Return the mean over some tasks, (*shape)."""
        return self.vectors[list(tasks)].mean(dim=0)


def task_vectors_of(tensors: Tensor) -> SingularVectors | WholeVectors:
    """Store the task vectors of one tensor, (T, *shape), as factors if they are matrices."""
    is_matrix = tensors.ndim == 3 or len(matrix_shape(tensors[0])) == 2
    return SingularVectors(tensors) if is_matrix else WholeVectors(tensors)


def cosine(one: Decomposition, other: Decomposition) -> float:
    """Return the cosine between two matrices as vectors, or 0 if one of them is 0."""
    alike = (one.left.T @ other.left) * (one.right @ other.right.T)
    norms = one.values.norm() * other.values.norm()
    return float(one.values @ alike @ other.values / norms) if norms > 0 else 0.0


class MASSEncoder(nn.Module):
    """A MASS encoder merges the weights for an image after a first look at it.

    Args:
        encoder: the frozen pretrained encoder; it is taken over, not copied.
        first: the encoder of the first look, merged from all tasks.
        block: the number of the block in which tasks are chosen.
        router: the router that chooses them.
        parts: the task vectors of every tensor, by the encoder's own names.
        cached: the number of merged models that are kept.
    """

    def __init__(
        self,
        encoder: nn.Module,
        first: nn.Module,
        block: int,
        router: ProjectionRouter,
        parts: Mapping[str, SingularVectors | WholeVectors],
        cached: int,
    ):
        super().__init__()
        self.encoder, self.first, self.router = encoder, first, router
        self.block, self.cached = block, cached
        self.names, self.parts = list(parts), nn.ModuleList(parts.values())
        self._merged: OrderedDict[tuple[int, ...], dict[str, Tensor]] = OrderedDict()

    def forward(self, images: Tensor) -> Tensor:
        """Encode images (B, 3, H, W) as features (B, D)."""
        tokens, features = self.look(images)
        chosen = self.router(tokens) > 0
        rows, group = chosen.unique(dim=0, return_inverse=True)
        for number, row in enumerate(rows):
            weights = self.weights(tuple(row.nonzero().flatten().tolist()))
            own = group == number
            features[own] = functional_call(self.encoder, weights, (images[own],))
        return features

    def look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tokens given to the choosing MLP, (B, N, D), and the features (B, D)."""
        given: list[Tensor] = []
        mlp = blocks_of(self.first)[self.block].get_submodule("mlp")
        hook = mlp.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
        try:
            features = self.first(images)
        finally:
            hook.remove()
        return given[0], features

    def weights(self, tasks: tuple[int, ...]) -> dict[str, Tensor]:
        """Return the merged weights of some tasks, from the cache if they are there."""
        if tasks not in self._merged:
            base = self.encoder.state_dict()
            # A prediction may merge them in inference mode, and training may use them later.
            with torch.inference_mode(False), torch.no_grad():
                merged = {
                    name: base[name] + part.merged(tasks)  # type: ignore[operator]
                    for name, part in zip(self.names, self.parts, strict=True)
                }
            self._merged[tasks] = merged
        self._merged.move_to_end(tasks)
        while len(self._merged) > self.cached:
            self._merged.popitem(last=False)
        return self._merged[tasks]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or cast the encoder, and drop the cache, whose weights are not moved."""
        self._merged.clear()
        result: Any = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return result
