"""Compute task vectors, which fine-tuning adds to weights: τ = θ_expert − θ_pretrained.

They are plain mappings from parameter name to tensor, as in "Editing Models with Task Arithmetic"
(arXiv 2212.04089). Nothing in this file depends on the model that the weights belong to.
"""

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor, nn

from wemoe_pl.checkpoints import (
    LazyState,
    State,
    factors_of,
    first_difference,
    shapes_of,
    without_head,
)
from wemoe_pl.checkpoints.peft import check_is_no_adapter
from wemoe_pl.errors import MergeError

SAME_PRETRAINED = "Merge models that were fine-tuned from the same pretrained one."
WITHOUT_HEADS = (
    "Only the classifiers' heads differ: call `reset_classifier(0)` on every model, and keep their "
    "heads separately."
)
Model = nn.Module | State  # a model, or its weights by name, which may be read lazily


def state_of(model: Model) -> State:
    """Return the weights of a model by name.

    Raises:
        CheckpointError: the model has an adapter of PEFT that is not merged into its weights.
    """
    if not isinstance(model, nn.Module):
        return model
    state = model.state_dict()
    check_is_no_adapter(f"This {type(model).__name__}", state)
    return state


def check_compatible(pretrained: State, expert: State, name: str) -> None:
    """Raise `MergeError` unless `expert` has the keys and shapes of `pretrained`.

    The error names the first key that differs, in the order of the model, and both shapes.
    """
    theirs, ours = shapes_of(expert), shapes_of(pretrained)
    if difference := first_difference(theirs, ours):
        differ_in_head = first_difference(without_head(theirs), without_head(ours)) is None
        raise MergeError(
            f"{name} does not fit the pretrained model: {difference}. "
            f"{WITHOUT_HEADS if differ_in_head else SAME_PRETRAINED}"
        )


def task_vector(pretrained: State, expert: State, name: str = "the expert") -> dict[str, Tensor]:
    """Return τ = θ_expert − θ_pretrained for every floating-point tensor.

    Integer tensors (counters, position indices) take no part in arithmetic and are left out.

    Raises:
        MergeError: keys or shapes differ; the message names the first one.

    >>> import torch
    >>> task_vector({"w": torch.tensor([1.0])}, {"w": torch.tensor([1.5])})
    {'w': tensor([0.5000])}
    """
    check_compatible(pretrained, expert, name)
    return dict(lazy_task_vector(pretrained, expert))


def lazy_task_vector(pretrained: State, expert: State) -> LazyState:
    """Return the task vector as a lazy state, whose tensors are computed when asked for.

    They are on the device of the pretrained weights, for instance a GPU.
    """
    shapes = {k: w.shape for k, w in pretrained.items() if w.is_floating_point()}

    def subtract(key: str) -> Tensor:
        weight = pretrained[key]
        return expert[key].to(weight.device) - weight

    return LazyState(shapes, subtract, partial(factors_of, expert))


def trim(vector: State, keep: float) -> LazyState:
    """Set all but the entries of largest magnitude of a task vector to 0 (TIES, §4.1).

    All tensors share one threshold; entries equal to it are kept. It is found at once, in the
    memory of one task vector; tensors are trimmed when asked for.

    Args:
        vector: a task vector, which may be read lazily.
        keep: the share of entries that is kept, above 0 and up to 1.

    >>> trim({"w": torch.tensor([0.1, -3.0]), "b": torch.tensor([2.0, 0.5])}, keep=0.5)["w"]
    tensor([ 0., -3.])
    """
    check_keep(keep)
    magnitudes = torch.cat([vector[key].abs().flatten() for key in vector])
    kept = max(1, round(keep * len(magnitudes)))
    threshold = magnitudes.kthvalue(len(magnitudes) - kept + 1).values

    def trimmed(key: str) -> Tensor:
        tensor = vector[key]
        return tensor.where(tensor.abs() >= threshold, 0)

    return LazyState(shapes_of(vector), trimmed)


def check_keep(keep: float) -> None:
    """Raise `MergeError` unless `keep` is above 0 and up to 1."""
    if not 0.0 < keep <= 1.0:
        raise MergeError(
            f"keep is {keep}: choose the share of a task vector's entries to keep, above 0 and up "
            "to 1; TIES is published with 0.2."
        )


def add_task_vectors(
    pretrained: State, task_vectors: Iterable[State], scaling: float
) -> dict[str, Tensor]:
    """Return θ0 + λ Σ τ_i as new tensors: task arithmetic with the scaling coefficient λ.

    Task vectors are consumed tensor by tensor, so lazy ones take next to no memory.

    >>> import torch
    >>> add_task_vectors({"w": torch.zeros(1)}, [{"w": torch.ones(1)}] * 2, scaling=0.25)
    {'w': tensor([0.5000])}
    """
    merged = {key: tensor.clone() for key, tensor in pretrained.items()}
    for vector in task_vectors:
        for key, delta in vector.items():
            merged[key].add_(delta, alpha=scaling)
    return merged
