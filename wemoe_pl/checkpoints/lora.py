"""Read LoRA adapters of PEFT (arXiv 2106.09685), and add them to their base tensor by tensor."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from wemoe_pl.checkpoints.key_check import Shapes
from wemoe_pl.checkpoints.lora_config import LoRAConfig
from wemoe_pl.checkpoints.lora_place import Place, find_place
from wemoe_pl.checkpoints.peft import ADAPTER_PART, MERGE_FIRST
from wemoe_pl.checkpoints.reading import Weights
from wemoe_pl.checkpoints.state import Factors, LazyState
from wemoe_pl.checkpoints.translation import stacked, unchanged, undo
from wemoe_pl.errors import CheckpointError
from wemoe_pl.system.warn import warn_once

ROOT = "base_model.model."  # PEFT puts this before every key
WRAPPING = re.compile(r"\.(base_layer|modules_to_save)(?=\.)")  # around what is trained as a whole
ORIGINAL = ".original_module."  # what such a part was before
THIN = re.compile(r"(?P<layer>.+)\.lora_(?P<side>[AB])\.weight")

IN_MEMORY_PART = re.compile(r"\.lora_[AB]\.[^.]+\.weight$")  # PEFT leaves out the name in files


class ThinLayer(NamedTuple):
    """A `ThinLayer` names the two thin matrices of an adapted layer, whose product is added.

    Attributes:
        left: the key of B, (m, R), in the adapter's file.
        right: the key of A, (R, n). The layer of a convolution has one more matrix per pixel.
        scale: the factor of B·A.
    """

    left: str
    right: str
    scale: float


@dataclass(frozen=True)
class Adapter:
    """An adapter holds what fine-tuning has changed in an encoder.

    Args:
        weights: the file of the adapter.
        place: the encoder that it changes.
        layers: the layers to which it adds B·A, by their names in the model.
        whole: the keys in the file of tensors that were trained as a whole and replace those of
            the base, by their names in the model.
    """

    weights: Weights
    place: Place
    layers: Mapping[str, ThinLayer]
    whole: Mapping[str, str]

    def added_to(self, base: LazyState) -> LazyState:
        """Return the weights of a base with the adapter added, each made when it is used.

        The result knows the factors of those matrices whose task vectors are products B·A.
        """

        def read(key: str) -> Tensor:
            names, make = self.place.parts(key)
            if not any(map(self.changes, names)):
                return base[key]
            parts = zip(names, undo(make, base[key], len(names)), strict=True)
            return make(*(self.changed(name, part) for name, part in parts)).contiguous()

        return LazyState(base.shapes, read, self.factors)

    def changes(self, name: str) -> bool:
        """Return whether the adapter changes a tensor, given its name in the model."""
        return name in self.whole or layer_named(name) in self.layers

    def changed(self, name: str, part: Tensor) -> Tensor:
        """Return a tensor of the model, given its name and what it is in the base."""
        if name in self.whole:
            return self.weights[self.whole[name]]
        if layer := self.layers.get(layer_named(name)):
            left, right = self.product(layer)
            return part + (left @ right).view_as(part)
        return part

    def product(self, layer: ThinLayer) -> Factors:
        """Return scaled B, (m, R), and A, (R, n), of a layer."""
        left, right = self.weights[layer.left].flatten(1), self.weights[layer.right].flatten(1)
        return layer.scale * left, right

    def factors(self, key: str) -> Factors | None:
        """Return the factors of a matrix's task vector, given timm's key; None if there are none.

        Queries, keys and values are one matrix in timm. Where they are three in the model, the
        factors of all three are put together.
        """
        shape = self.place.reference[key]
        names, make = self.place.parts(key)
        is_matrix = len(shape) > 1 and make in (unchanged, stacked)
        if not is_matrix or any(name in self.whole for name in names):
            return None
        rows, columns = shape[0] // len(names), shape[1:].numel()
        nothing = torch.zeros(rows, 0), torch.zeros(0, columns)
        found = [self.layers.get(layer_named(name)) for name in names]
        products = [self.product(layer) if layer else nothing for layer in found]
        lefts, rights = zip(*products, strict=True)
        return torch.block_diag(*lefts), torch.cat(rights)


def layer_named(name: str) -> str:
    """Return the name of a layer, given that of its weight; return other names unchanged."""
    return name.removesuffix(".weight")


def read_lora(weights: Weights, config: LoRAConfig, reference: Shapes) -> Adapter:
    """Read which layers of an encoder an adapter changes, and check their shapes.

    Args:
        weights: the file of the adapter.
        config: the config of the adapter.
        reference: the shapes of the encoder's weights, by timm's keys.

    Raises:
        CheckpointError: the adapter is of another architecture, incomplete, or not what its config
            says; the message names the file and the first such layer.
    """
    thin, whole = sorted_by_kind(weights)
    if not thin:
        raise CheckpointError(
            f"{weights.name} has no matrices 'lora_A' and 'lora_B', which a LoRA adapter consists "
            "of: copy or download it again, or save it again by PEFT's `save_pretrained`."
        )
    place = find_place(weights.name, [f"{layer}.weight" for layer in thin], reference)
    named = [*(f"{layer}.weight" for layer in thin), *whole]
    left_out = {name for name in named if name not in place.names and place.is_left_out(name)}
    warn_of_other_towers(weights.name, place, left_out)
    layers = {
        layer: ThinLayer(sides["B"], sides["A"], config.scale(layer))
        for layer, sides in thin.items()
        if f"{layer}.weight" not in left_out
    }
    kept = {name: key for name, key in whole.items() if name not in left_out}
    adapter = Adapter(weights, place, layers, kept)
    check_shapes(adapter, config)
    check_is_complete(adapter, config)
    for module in config.whole_modules:
        if not any(f".{module}." in f".{name}" for name in whole):
            raise CheckpointError(
                f"{weights.name} has nothing for '{module}', which {config.path.name} names among "
                "its modules_to_save: copy or download it again."
            )
    if config.trains_biases and not any(name.endswith(".bias") for name in kept):
        warn_once(
            f"{weights.name} has no biases, although {config.path.name} says that they were "
            "trained: PEFT did not save them before version 0.21. Those of the base are used."
        )
    return adapter


def sorted_by_kind(weights: Weights) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Sort the tensors of an adapter into thin matrices and tensors that were trained as a whole.

    Returns:
        The keys of A and B of every layer, and the key of every other tensor, by their names in
        the model that was adapted.

    Raises:
        CheckpointError: one of A and B is missing, or the adapter is no plain LoRA.
    """
    thin: dict[str, dict[str, str]] = {}
    whole: dict[str, str] = {}
    for key in weights:
        name = WRAPPING.sub("", key.removeprefix(ROOT))
        if found := THIN.fullmatch(name):
            thin.setdefault(found["layer"], {})[found["side"]] = key
        elif IN_MEMORY_PART.search(name):
            raise CheckpointError(
                f"{weights.name} has a '{key}', as adapters are called in memory and not in "
                "files: save it again by PEFT's `save_pretrained`."
            )
        elif part := ADAPTER_PART.search(name):
            raise CheckpointError(
                f"{weights.name} has a '{key}', and plain LoRA has no '{part[2]}' of that kind: "
                f"{MERGE_FIRST}."
            )
        elif ORIGINAL not in key:
            whole.setdefault(name, key)
    for layer, sides in thin.items():
        if missing := {"A", "B"} - sides.keys():
            raise CheckpointError(
                f"{weights.name} has no lora_{missing.pop()} for '{layer}': copy or download it "
                "again."
            )
    return thin, whole


def warn_of_other_towers(file: str, place: Place, left_out: set[str]) -> None:
    """Warn of adapted parts beside the encoder, such as a text tower, which are not read."""
    towers = sorted(name for name in left_out if not place.form.is_head(name, place.prefix))
    if towers:
        warn_once(
            f"{file} also adapts other parts of its model ('{towers[0]}'), which are not read: "
            "heads that are made from text come from the text tower of the suite."
        )


def check_shapes(adapter: Adapter, config: LoRAConfig) -> None:
    """Raise `CheckpointError` unless all changed tensors are in the encoder, with their shapes."""
    file, expected = adapter.weights.name, shapes_in_model(adapter.place)
    changed = [*(f"{layer}.weight" for layer in adapter.layers), *adapter.whole]
    for name in changed:
        if name not in expected:
            raise CheckpointError(
                f"{file} changes '{name}', which the backbone does not have: use an adapter that "
                "was trained on the suite's pretrained model."
            )
    shapes = adapter.weights.shapes
    for name, key in adapter.whole.items():
        if shapes[key] != expected[name]:
            raise CheckpointError(
                f"{file} replaces '{name}' by a tensor of shape {tuple(shapes[key])}, but in the "
                f"backbone its shape is {tuple(expected[name])}."
            )
    for layer, (left, right, _) in adapter.layers.items():
        check_rank(file, layer, shapes[left], shapes[right], config)
        made = torch.Size((shapes[left][0], *shapes[right][1:]))
        if made != expected[f"{layer}.weight"]:
            raise CheckpointError(
                f"{file} adds a matrix of shape {tuple(made)} to '{layer}', whose weight in the "
                f"backbone has shape {tuple(expected[f'{layer}.weight'])}: use an adapter that was "
                "trained on the suite's pretrained model."
            )


def check_rank(
    file: str, layer: str, left: torch.Size, right: torch.Size, config: LoRAConfig
) -> None:
    """Raise `CheckpointError` unless B and A have the rank by which the config scales them."""
    fits = len(left) == len(right) > 1 and left[1] == right[0] and left[2:].numel() == 1
    if not fits:
        raise CheckpointError(
            f"{file} is damaged: for '{layer}', lora_B has shape {tuple(left)} and lora_A "
            f"{tuple(right)}, which have no product. Copy or download it again."
        )
    if right[0] != config.rank_of(layer):
        raise CheckpointError(
            f"{file} has a rank of {right[0]} for '{layer}', but {config.path.name} says "
            f"{config.rank_of(layer)}, and the scale depends on it: use the config that was saved "
            "with the adapter."
        )


def check_is_complete(adapter: Adapter, config: LoRAConfig) -> None:
    """Raise `CheckpointError` if layers are adapted that the config does not name, or not all."""
    file, layers = adapter.weights.name, adapter.layers
    for layer in layers:
        if not config.targets_layer(layer):
            raise CheckpointError(
                f"{file} adapts '{layer}', which {config.path.name} does not name among its "
                "target_modules: use the config that was saved with the adapter."
            )
    if config.targets is None or not config.is_complete:
        return
    for name, shape in shapes_in_model(adapter.place).items():
        layer = layer_named(name)
        is_target = name != layer and len(shape) > 1 and config.targets_layer(layer)
        if is_target and not adapter.changes(name):
            raise CheckpointError(
                f"{file} has nothing for '{layer}', which {config.path.name} names among its "
                "target_modules: copy or download it again."
            )


def shapes_in_model(place: Place) -> dict[str, torch.Size]:
    """Return the shapes of the encoder's tensors by their names in the model that was adapted."""
    shapes: dict[str, torch.Size] = {}
    for key, shape in place.reference.items():
        names, make = place.parts(key)
        parts = undo(make, torch.empty(shape, device="meta"), len(names))
        shapes |= {name: part.shape for name, part in zip(names, parts, strict=True)}
    return shapes
