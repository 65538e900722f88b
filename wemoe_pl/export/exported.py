"""Define the model that is exported: a merged classifier with the record of how it was made."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from wemoe_pl.checkpoints import LazyState, State, first_difference, shapes_of
from wemoe_pl.data.preprocessing import Preprocessing
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import CheckpointError, ConfigError
from wemoe_pl.merging.base import NOT_ADAPTED, MergeMethod
from wemoe_pl.merging.folding import fold, folds
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.model.architecture import Architecture, own_state
from wemoe_pl.model.building import build_classifier
from wemoe_pl.model.classifier import MultiTaskClassifier
from wemoe_pl.model.measured import Measured
from wemoe_pl.model.recipe import describe
from wemoe_pl.moe.compression import Compression
from wemoe_pl.moe.dense import DenseVectors
from wemoe_pl.moe.pruned import PrunedVectors
from wemoe_pl.moe.routed_linear import RoutedLinear
from wemoe_pl.runs.checkpoint import Sources
from wemoe_pl.runs.results_schema import measured_in

IMAGES = 3  # the batch of a comparison: neither one nor a power of two


@dataclass(frozen=True)
class ExportedModel:
    """An `ExportedModel` is a merged classifier with the record of how it was made.

    Args:
        classifier: the classifier as `load` returns it: folded if it can be.
        suite: the suite that was merged.
        merge: the merge method.
        adapted: the learned weights, by their names in the classifier before it was folded.
        sources: the source of each frozen part, with its SHA-256.
        results: the results of the run; None if it was not scored.
        is_adapted: True if weights were learned, or there are none to learn.
        task: the task whose logits the encoder gives instead of features; None if it gives these.
        origin: the model of all tasks that a classifier of one task was made of.
    """

    classifier: MultiTaskClassifier
    suite: Suite
    merge: MergeMethod
    adapted: State
    sources: Sources
    results: Mapping[str, Any] | None = None
    is_adapted: bool = True
    task: str | None = None
    origin: "ExportedModel | None" = None

    @classmethod
    def assemble(
        cls,
        suite: Suite,
        merge: MergeMethod,
        adapted: State,
        results: Mapping[str, Any] | None = None,
        is_adapted: bool = True,
        measured: Measured | None = None,
    ) -> "ExportedModel":
        """Merge the suite's encoders, and load the learned weights.

        What was measured is read from the results, unless it is given.

        Raises:
            CheckpointError: the learned weights are not of this model, or not all that it learns;
                the message names the first such key.
        """
        classifier = build_classifier(suite, merge, check_classes=False)
        learned = {n: p.detach() for n, p in classifier.named_parameters() if p.requires_grad}
        needed = shapes_of(learned if is_adapted or adapted else {})
        if difference := first_difference(shapes_of(adapted), needed):
            raise CheckpointError(
                f"The adapted weights belong to another model than this {merge.label}: "
                f"{difference}."
            )
        classifier.load_state_dict(dict(adapted), strict=False)
        if folds(classifier.encoder):
            classifier.encoder = fold(classifier.encoder)
        classifier.measured = measured_in(results) if measured is None else measured
        return cls(
            classifier.eval(),
            suite,
            merge,
            adapted={**learned, **adapted},
            sources=suite.sources(),
            results=results,
            is_adapted=is_adapted or not learned,
        )

    @property
    def method(self) -> str:
        """Return the name of the merge method, which says so if nothing of it was adapted."""
        return self.merge.label if self.is_adapted else f"{self.merge.label}{NOT_ADAPTED}"

    @property
    def recipe(self) -> dict[str, Any]:
        """Return the recipe of the merge as plain values."""
        return {"suite": describe(self.whole.suite), "merge": describe(self.merge)}

    @property
    def whole(self) -> "ExportedModel":
        """Return the model of all tasks."""
        return self.origin or self

    @property
    def architecture(self) -> Architecture:
        """Return the architecture that the encoder is built from."""
        return Architecture.of(self.classifier.encoder, self.suite.backbone)

    @property
    def is_plain(self) -> bool:
        """Return whether the encoder is one of timm's, with nothing upscaled."""
        return not self.classifier.mixtures

    @property
    def dtype(self) -> torch.dtype:
        """Return the precision of the encoder."""
        return next(self.classifier.encoder.parameters()).dtype

    @property
    def preprocessing(self) -> Preprocessing:
        """Return the preparation of images for the encoder."""
        return self.classifier.preprocess

    @property
    def images(self) -> Tensor:
        """Return some images of noise, always the same ones, (B, 3, H, W)."""
        noise = torch.Generator().manual_seed(0)
        size = self.preprocessing.config["input_size"]
        weight = next(self.classifier.encoder.parameters())
        return torch.randn(IMAGES, *size, generator=noise).to(weight)

    @property
    def features(self) -> Tensor:
        """Return the encoder's features of `images`, (B, D)."""
        with torch.no_grad():
            return self.classifier.encode(self.images)

    def compressed(self, compression: Compression) -> "ExportedModel":
        """Return the same model with another dictionary, made anew from the suite's experts.

        Raises:
            ConfigError: the model has no dictionary.
        """
        if self.is_plain or not isinstance(self.merge, WEMoE):
            raise ConfigError(
                f"{self.merge.label} is exported without a dictionary of task vectors: leave out "
                "--dictionary."
            )
        merge = replace(self.merge, compression=compression)
        known = self.results, self.is_adapted, self.classifier.measured
        return self.assemble(self.suite, merge, self.adapted, *known)

    def cast(self, dtype: torch.dtype) -> "ExportedModel":
        """Return the same model with an encoder in another precision; the heads keep theirs."""
        state = own_state(self.classifier.encoder)

        def read(key: str) -> Tensor:
            tensor = state[key]
            return tensor.to(dtype) if tensor.is_floating_point() else tensor

        return with_weights(self, LazyState(shapes_of(state), read))

    def unpacked(self) -> "ExportedModel":
        """Return an equal model with dense task vectors, for formats that have no sparse ones."""
        encoder = self.classifier.encoder
        pruned = {n: m for n, m in encoder.named_modules() if isinstance(m, PrunedVectors)}
        state = own_state(encoder)
        for name, module in pruned.items():
            for part in module.state_dict():
                del state[f"{name}.{part}"]
            dense = DenseVectors(module.mix(torch.eye(module.count)))
            state[f"{name}.entries"] = dense.entries.to(module.values.dtype)
        return with_weights(self, state) if pruned else self


def with_weights(model: ExportedModel, state: State) -> ExportedModel:
    """Return the same model with other weights in its encoder."""
    check_can_be_built(model)
    encoder, known = model.architecture.load(state, "The model"), model.classifier
    heads = {task: known.head(task) for task in known.tasks}
    backbone = model.suite.backbone
    classifier = MultiTaskClassifier(encoder, heads, backbone=backbone, experts=known.experts)
    classifier.measured = known.measured
    return replace(model, classifier=classifier.eval())


def check_can_be_built(model: ExportedModel) -> None:
    """Raise `ConfigError` for an encoder that no architecture describes."""
    if model.classifier.chooses_experts:
        raise ConfigError(
            f"{model.merge.label} merges weights anew for every image, and the format asked for "
            "holds one encoder: choose adapter."
        )
    if any(isinstance(m, RoutedLinear) for m in model.classifier.encoder.modules()):
        raise ConfigError(
            f"{model.merge.label} routes every token by itself, and the format asked for holds "
            "plain and upscaled encoders only: choose adapter, onnx, torch-export or aoti."
        )
