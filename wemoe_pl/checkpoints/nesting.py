"""Find the state dict among all that training scripts save: optimisers, counters, averages."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from wemoe_pl.errors import CheckpointError
from wemoe_pl.system.warn import warn_once

# Training scripts put weights under these keys. Trained weights are preferred to their averages.
TRAINED = (
    "state_dict", "model", "model_state_dict", "module", "model_state", "net", "network",
    "encoder", "backbone", "weights", "params",
)  # fmt: skip
AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema")
DISTILLED = ("student", "teacher")  # neither is preferred
DEPTH = 4  # levels, more than any script nests


def state_dict_in(loaded: Any, name: str) -> dict[str, Tensor]:
    """Return the tensors of the state dict that a training script saved, perhaps under a key.

    It warns if the file has another state dict, such as an average.

    Args:
        loaded: the content of a file.
        name: the file.

    Raises:
        CheckpointError: there is no state dict, or there are both a student and a teacher.
    """
    found = loaded if isinstance(loaded, Mapping) else {}
    for _ in range(DEPTH):
        places = [p for p in (*TRAINED, *AVERAGED, *DISTILLED) if holds_tensors(found.get(p))]
        if not places:
            break
        found = found[chosen_place(places, name)]
    tensors = {key: part for key, part in found.items() if isinstance(part, Tensor)}
    if not tensors:
        places = [str(key) for key, part in found.items() if holds_tensors(part)]
        hint = f": save what is under {quoted(places)} alone" if places else ""
        raise CheckpointError(f"{name} holds no state dict: expected tensors by name{hint}.")
    return tensors


def holds_tensors(value: Any, depth: int = DEPTH) -> bool:
    """Return whether a value is a dictionary with tensors by name, or with such dictionaries."""
    return (
        depth > 0
        and isinstance(value, Mapping)
        and any(
            isinstance(part, Tensor) or holds_tensors(part, depth - 1)
            for key, part in value.items()
            if isinstance(key, str)
        )
    )


def chosen_place(places: Sequence[str], name: str) -> str:
    """Return the place of the weights to read, given all places; warn of the others."""
    first, *others = places
    if others and first in DISTILLED:
        raise CheckpointError(
            f"{name} holds several models, under {quoted(places)}: save the state dict of the one "
            "that you mean in a file of its own."
        )
    if others:
        warn_once(
            f"{name} holds weights under '{first}', which are read, and under {quoted(others)}, "
            "which are not: if you mean others, save them in a file of their own."
        )
    return first


def quoted(places: Sequence[str]) -> str:
    """Return names in quotes, joined as a sentence lists them.

    >>> quoted(["student", "teacher"])
    "'student' and 'teacher'"
    """
    return " and ".join(f"'{place}'" for place in places)
