"""Check that the tensors of a checkpoint are whole, finite, and in the precision of the run."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wemoe_pl.checkpoints.reading import is_whole
from wemoe_pl.errors import CheckpointError

# The parts of a checkpoint whose numbers a model or its optimiser loads.
TAKEN = ("state_dict", "optimizer_states", "callbacks.CollapseGuard")
WEIGHTS = "state_dict."
# The precisions of weights by Lightning's names. In mixed precision, weights stay in float32.
LIGHTNING_PRECISIONS = {
    **dict.fromkeys(
        ("None", "32", "32-true", "16", "16-mixed", "bf16", "bf16-mixed"), torch.float32
    ),
    **dict.fromkeys(("64", "64-true"), torch.float64),
    "bf16-true": torch.bfloat16,
    "16-true": torch.float16,
}
FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def check_tensors(path: Path, checkpoint: Mapping[str, Any]) -> None:
    """Raise `CheckpointError` for the first tensor of a checkpoint that no run has written.

    Args:
        path: the path of the checkpoint.
        checkpoint: the contents of the checkpoint.
    """
    allowed = precisions_of(checkpoint)
    for name, tensor in tensors_below(checkpoint):
        if not is_whole(tensor) or tensor.layout != torch.strided:
            raise CheckpointError(
                f"{path} is damaged: its '{name}' is not a plain tensor with all its values in the "
                "file. Give another checkpoint."
            )
        if name.startswith(WEIGHTS) and tensor.dtype not in allowed:
            expected = " or ".join(str(dtype) for dtype in allowed)
            raise CheckpointError(
                f"{path} has a '{name}' of {tensor.dtype}, and its run has weights of {expected}: "
                "give the checkpoint as the run has written it."
            )
        if name.startswith(TAKEN) and tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(
                f"{path} has NaN or infinite values in '{name}': the training that made it "
                "diverged, or the file was changed. Use an earlier checkpoint."
            )


def tensors_below(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield all tensors of nested mappings and lists, with their dotted keys."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from tensors_below(part, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for place, part in enumerate(value):
            yield from tensors_below(part, f"{name}.{place}")


def precisions_of(checkpoint: Mapping[str, Any]) -> tuple[torch.dtype, ...]:
    """Return the precisions that a checkpoint's weights may have, by the config of its run.

    >>> precisions_of({"run": {"recipe": {"trainer": {"precision": "bf16-true"}}}})
    (torch.bfloat16,)
    """
    trainer = checkpoint.get("run", {}).get("recipe", {}).get("trainer")
    if not isinstance(trainer, Mapping) or trainer.get("plugins"):  # plugins may choose another
        return FLOATS
    named = LIGHTNING_PRECISIONS.get(str(trainer.get("precision")))
    return FLOATS if named is None else (named,)
