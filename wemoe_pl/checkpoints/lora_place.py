"""Find out which tensors of an encoder an adapter of PEFT changes, from their names alone."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from wemoe_pl.checkpoints.forms import HUGGING_FACE_CLIP, OPEN_CLIP, TIMM, Form, matches
from wemoe_pl.checkpoints.key_check import Shapes
from wemoe_pl.checkpoints.nesting import quoted
from wemoe_pl.checkpoints.translation import Make
from wemoe_pl.errors import CheckpointError

ADAPTED_FORMS = (TIMM, HUGGING_FACE_CLIP, OPEN_CLIP)
HEAD_WEIGHT = "head.weight"  # timm's name for CLIP's projection, which has another prefix


@dataclass(frozen=True)
class Place:
    """A place is the encoder inside a model that an adapter was trained in.

    Args:
        form: the form of the model, whose names the adapter uses.
        prefix: the text that precedes the names of the encoder's tensors.
        reference: the shapes of the encoder's weights, by timm's keys.
    """

    form: Form
    prefix: str
    reference: Shapes

    def parts(self, key: str) -> tuple[tuple[str, ...], Make]:
        """Return the model's names for one of timm's keys, and how its tensor is made of them."""
        names, make = self.form.rule(key)
        if key == HEAD_WEIGHT:
            outer = self.form.outer(self.prefix)
            return (self.form.projection.format(prefix=self.prefix, outer=outer),), make
        return tuple(self.prefix + name for name in names), make

    @cached_property
    def names(self) -> frozenset[str]:
        """Return the model's names for all tensors of the encoder."""
        return frozenset(name for key in self.reference for name in self.parts(key)[0])

    def is_left_out(self, name: str) -> bool:
        """Return whether a tensor belongs to a part that is not read with the encoder."""
        return self.form.is_beside(name, self.prefix) or self.form.is_head(name, self.prefix)


def find_place(file: str, tensors: Sequence[str], reference: Shapes) -> Place:
    """Find the encoder to which adapted tensors belong.

    Args:
        file: the file of the adapter.
        tensors: the names of the tensors that it adapts, in the model that it was trained in.
        reference: the shapes of the encoder's weights, by timm's keys.

    Raises:
        CheckpointError: no known form has tensors of these names, or there are several encoders.
    """
    for form in ADAPTED_FORMS:
        known = Place(form, "", reference).names
        found = [p for name in tensors if (p := prefix_of(name, known)) is not None]
        prefixes = [p for p in dict.fromkeys(found) if not is_beside(form, p)]
        towers = [p for p in prefixes if p.endswith(form.towers)] or prefixes
        if len(towers) > 1:
            raise CheckpointError(
                f"{file} adapts {len(towers)} encoders, whose layers begin with {quoted(towers)}: "
                "save the adapter of one of them."
            )
        if towers:
            return Place(form, towers[0], reference)
    names = ", ".join(f"'{name}'" for name in tensors[:2]) or "nothing"
    raise CheckpointError(
        f"{file} adapts {names}, and no layer of the backbone: use an adapter that was trained on "
        "the suite's pretrained model, and on its vision tower."
    )


def prefix_of(name: str, known: Iterable[str]) -> str | None:
    """Return what precedes a known name at the end of a longer one; None if it ends in none.

    >>> prefix_of("model.blocks.0.mlp.fc1.weight", ["blocks.0.mlp.fc1.weight"])
    'model.'
    """
    starts = [0, *(found.end() for found in re.finditer(r"\.", name))]
    return next((name[:start] for start in starts if name[start:] in known), None)


def is_beside(form: Form, prefix: str) -> bool:
    """Return whether a prefix is that of another part of a model, such as its text tower."""
    return bool(prefix) and matches(form.beside, f"{prefix.removeprefix(form.outer(prefix))}_")
