"""Find the vision or text tower in a file of weights, and translate it into our keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from wemoe_pl.checkpoints.forms import TEXT_FORMS, VISION_FORMS, Form, recognise
from wemoe_pl.checkpoints.key_check import Shapes
from wemoe_pl.checkpoints.nesting import quoted
from wemoe_pl.checkpoints.peft import check_is_no_adapter
from wemoe_pl.checkpoints.reading import Weights
from wemoe_pl.checkpoints.state import LazyState
from wemoe_pl.checkpoints.translation import Make
from wemoe_pl.errors import CheckpointError

HEAD = "head."  # in timm, CLIP's projection or a classifier's last layer
Plan = dict[str, tuple[tuple[str, ...], Make]]


@dataclass(frozen=True)
class Tower:
    """A tower is the vision or the text transformer in a file of weights.

    Args:
        weights: the weights of the file.
        form: the form of the weights.
        prefix: the text that precedes the keys of the tower in the file.
    """

    weights: Weights
    form: Form
    prefix: str

    @property
    def projection(self) -> str:
        """Return the key of the projection to CLIP's joint space, which the file may lack."""
        outer = self.form.outer(self.prefix)
        return self.form.projection.format(prefix=self.prefix, outer=outer)

    @property
    def projects(self) -> bool:
        """Return whether the file has a projection, or a classifier's head."""
        return self.projection in self.weights

    def converted(self, reference: Shapes) -> LazyState:
        """Return the weights by our keys; those with unknown keys keep the keys of the file.

        The shapes are computed from those in the file, with tensors that have no data.
        """
        plan = self._plan(reference)
        plan |= {key: ((key,), torch.clone) for key in self._unaccounted(plan, reference)}

        def read(key: str) -> Tensor:
            keys, make = plan[key]
            return make(*(self.weights[k] for k in keys)).contiguous()

        shapes = {}
        for key, (keys, make) in plan.items():
            parts = [torch.empty(self.weights.shapes[k], device="meta") for k in keys]
            try:
                shapes[key] = make(*parts).shape
            except RuntimeError:  # the parts do not fit: an error will show the first one's shape
                shapes[key] = parts[0].shape
        return LazyState(shapes, read)

    def _plan(self, reference: Shapes) -> Plan:
        """Map our keys to those of the file and how to use their tensors; skip what it lacks."""
        plan: Plan = {}
        for key, shape in reference.items():
            theirs, make = self.form.rule(key)
            is_outside = key in self.form.outside
            place = self.form.outer(self.prefix) if is_outside else self.prefix
            keys = tuple(place + name for name in theirs)
            if key == "head.weight":
                keys = (self.projection,)
            if all(name in self.weights for name in keys):
                plan[key] = keys, make
            elif key == "head.bias" and self.projects:
                plan[key] = (), partial(torch.zeros, shape)  # CLIP's projection has no bias
        return plan

    def _unaccounted(self, plan: Plan, reference: Shapes) -> list[str]:
        """Return the keys of the file that the plan does not use and that may not be ignored."""
        used = {key for keys, _ in plan.values() for key in keys}
        return [
            key
            for key in self.weights
            if key not in used
            and not self.form.is_beside(key, self.prefix)
            and (has_head(reference) or not self._is_head(key))
        ]

    def _is_head(self, key: str) -> bool:
        return key == self.projection or self.form.is_head(key, self.prefix)

    @property
    def unprefixed_keys(self) -> list[str]:
        """Return the keys of the tower without its prefix."""
        prefix = self.prefix
        return [key.removeprefix(prefix) for key in self.weights if key.startswith(prefix)]


def find_tower(weights: Weights, forms: Sequence[Form] = VISION_FORMS) -> Tower:
    """Find the tower of one of these forms in a file.

    Raises:
        CheckpointError: there is no tower, or more than one, or the file is an adapter of PEFT.
    """
    check_is_no_adapter(weights.name, weights)
    kind = "text" if forms is TEXT_FORMS else "vision"
    if found := recognise(weights, forms):
        form, prefixes = found
        if len(prefixes) > 1:
            raise CheckpointError(
                f"{weights.name} holds {len(prefixes)} {kind} towers, whose keys begin with "
                f"{quoted(prefixes)}: save the one that you mean in a file of its own."
            )
        return Tower(weights, form, prefixes[0])
    first_keys = ", ".join(f"'{key}'" for key in list(weights)[:3]) or "none"
    raise CheckpointError(
        f"{weights.name} has no {kind} tower of a known form: its keys ({first_keys} …) are not "
        f"those of {', '.join(form.name for form in forms[:-1])} or {forms[-1].name}."
    )


def has_head(shapes: Shapes) -> bool:
    """Return whether an encoder ends in a projection or a classifier's last layer."""
    return any(key.startswith(HEAD) for key in shapes)
