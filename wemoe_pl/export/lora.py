"""Write a merged encoder as a LoRA adapter of the pretrained one, which PEFT loads."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wemoe_pl.checkpoints import IN_MEMORY, Factors, State
from wemoe_pl.checkpoints.lora_writing import write_lora
from wemoe_pl.errors import MergeError
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.manifest import MANIFEST, read_manifest
from wemoe_pl.model.recipe import rebuild
from wemoe_pl.moe.low_rank_vectors import leading_factors
from wemoe_pl.system.provenance import provenance

ANOTHER = "choose the format timm or bundle"
ROUNDINGS_OF_SUMS = 4  # of each entry of a merged weight, in adding up the task vectors


@dataclass(frozen=True)
class ExportedLoRA(ExportedModel):
    """An `ExportedLoRA` is a merged classifier whose encoder is the pretrained one plus an adapter.

    Args:
        layers: the factors of what merging has added to each linear layer, by the layer's name.
    """

    layers: Mapping[str, Factors] = field(default_factory=dict)

    @classmethod
    def of(cls, model: ExportedModel) -> "ExportedLoRA":
        """Return a model with the adapter that it comes to.

        Raises:
            MergeError: it mixes weights for every image, its pretrained encoder is in no file, or
                merging changed more than linear layers, or by matrices that are not thin.
        """
        if not model.is_plain:
            raise MergeError(
                f"{model.merge.label} mixes weights for every image anew, which an adapter does "
                f"not: {ANOTHER}, or a router of depth 0."
            )
        if model.suite.pretrained == IN_MEMORY:
            raise MergeError(
                "An adapter is loaded together with its pretrained model, which is in no file "
                f"here: {ANOTHER}."
            )
        known = {part.name: getattr(model, part.name) for part in fields(model)}
        return cls(**known, layers=added_layers(model))


def added_layers(model: ExportedModel) -> dict[str, Factors]:
    """Return the factors of θ − θ0 of every linear layer that merging changed.

    Raises:
        MergeError: other tensors changed too, or the factors of one would be larger than its
            weight.
    """
    encoder, base = model.classifier.encoder, model.suite.open_pretrained()
    linear = {f"{n}.weight": n for n, m in encoder.named_modules() if isinstance(m, nn.Linear)}
    layers: dict[str, Factors] = {}
    for key, weight in encoder.state_dict().items():
        before = base[key].to(weight)
        if torch.equal(weight, before):
            continue
        if key not in linear:
            raise MergeError(
                f"{model.merge.label} also changed '{key}', and an adapter changes the weights of "
                f"linear layers only: {ANOTHER}."
            )
        left, right = layers[linear[key]] = factorised(weight, before)
        if left.numel() + right.numel() >= weight.numel():
            raise MergeError(
                f"{model.merge.label} changed '{key}' by a matrix of rank {left.shape[1]}, for "
                f"which an adapter is larger than the weight itself: {ANOTHER}."
            )
    return layers


def factorised(weight: Tensor, before: Tensor) -> Factors:
    """Return thin matrices whose product is the difference of two matrices, up to rounding."""
    left, values, right = torch.linalg.svd(weight - before, full_matrices=False)
    rounding = ROUNDINGS_OF_SUMS * torch.finfo(weight.dtype).eps * torch.linalg.matrix_norm(weight)
    rank = max(1, int((values > rounding).sum()))
    return leading_factors(left, values, right, rank)


def thin_matrices_of(model: ExportedModel) -> State:
    """Return the thin matrices of a model that `ExportedLoRA.of` has prepared."""
    assert isinstance(model, ExportedLoRA)
    named = {"B": 0, "A": 1}
    return {f"{n}.{side}": pair[i] for n, pair in model.layers.items() for side, i in named.items()}


def write_peft(model: ExportedModel, folder: Path) -> None:
    """Write the adapter as PEFT does: its thin matrices, and the config that says their ranks."""
    assert isinstance(model, ExportedLoRA)  # as `of` has prepared it
    ranks = {layer: left.shape[1] for layer, (left, _) in model.layers.items()}
    largest = max(ranks.values(), default=1)
    # With an α equal to its rank, a layer has a scale of 1.
    settings = {
        "r": largest,
        "lora_alpha": largest,
        "rank_pattern": ranks,
        "alpha_pattern": ranks,
    }
    seed = (model.results or {}).get("seed", 0)
    source = model.suite.pretrained
    write_lora(folder, model.layers, settings, source, provenance(model.recipe, seed))


@torch.no_grad()
def peft_features(folder: Path, images: Tensor) -> Tensor:
    """Compute the features of images (B, 3, H, W) by the adapter in PEFT, on its base."""
    from peft import PeftModel

    suite, _ = rebuild(read_manifest(folder / MANIFEST).recipe)
    model: Any = PeftModel.from_pretrained(suite.load_pretrained().to(images.dtype), str(folder))
    features: Tensor = model.eval()(images)
    return features
