"""The product: one merged encoder with the head of every task."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from wemoe_pl.checkpoints import Backbone
from wemoe_pl.errors import ConfigError, did_you_mean
from wemoe_pl.heads import ClassificationHead
from wemoe_pl.merging import MergeMethod, PerTaskEncoder
from wemoe_pl.moe import WeightEnsemblingMoE
from wemoe_pl.suites import Suite


class MultiTaskClassifier(nn.Module):
    """An encoder and one frozen head per task: `model(images, task)` → logits.

    Args:
        encoder: images (B, 3, H, W) → features (B, D).
        heads: per task, features (B, D) → logits (B, C).
        backbone: the architecture of the encoder, which says how images are prepared for it.
        experts: what was merged, in the order of the routing weights.
    """

    def __init__(
        self,
        encoder: nn.Module,
        heads: Mapping[str, ClassificationHead],
        *,
        backbone: Backbone,
        experts: Sequence[str] = (),
    ):
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleDict(heads)
        self.backbone = backbone
        self.experts = tuple(experts)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that have a head."""
        return tuple(self.heads)

    def head(self, task: str) -> ClassificationHead:
        """The head of a task; `ConfigError` names the nearest one."""
        if task not in self.heads:
            raise ConfigError(
                f"The model has no head for '{task}'. {did_you_mean(task, self.tasks)}"
            )
        head = self.heads[task]
        assert isinstance(head, ClassificationHead)
        return head

    @property
    def num_classes(self) -> dict[str, int]:
        """How many classes the head of each task has."""
        return {task: len(self.head(task).classes) for task in self.tasks}

    def encode(self, images: Tensor, task: str | None = None) -> Tensor:
        """Images (B, 3, H, W) → features (B, D); only a `PerTaskEncoder` needs the task."""
        per_task = isinstance(self.encoder, PerTaskEncoder)
        features: Tensor = self.encoder(images, task) if per_task else self.encoder(images)
        return features

    def forward(self, images: Tensor, task: str) -> Tensor:
        """Images (B, 3, H, W) of one task → logits (B, C) of its classes."""
        logits: Tensor = self.head(task)(self.encode(images, task))
        return logits

    def forward_tasks(self, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One batch of every task in a single forward pass → logits per task.

        An encoder that is told the task, or routes batches, needs a pass for each.
        """
        if self.separates_tasks:
            return {task: self(batch, task) for task, batch in images.items()}
        features = self.encode(torch.cat(list(images.values())))
        parts = features.split([len(batch) for batch in images.values()])
        return {task: self.head(task)(part) for task, part in zip(images, parts, strict=True)}

    @property
    def mixtures(self) -> list[WeightEnsemblingMoE]:
        """The upscaled MLPs from the first block to the last; none in a static merge."""
        return [m for m in self.encoder.modules() if isinstance(m, WeightEnsemblingMoE)]

    @property
    def routing_weights(self) -> list[Tensor]:
        """Those of the last batch, (B, T) per block, of mixtures that recorded them."""
        recorded = (mixture.routing_weights for mixture in self.mixtures)
        return [weights for weights in recorded if weights is not None]

    @property
    def separates_tasks(self) -> bool:
        """Must the images of each task have a pass of their own?"""
        return self.routes_batches or isinstance(self.encoder, PerTaskEncoder)

    @property
    def routes_batches(self) -> bool:
        """Does what becomes of an image depend on the rest of its batch?"""
        return any(mixture.routing == "batch" for mixture in self.mixtures)


def build_classifier(
    suite: Suite, merge: MergeMethod, check_classes: bool = True
) -> MultiTaskClassifier:
    """Load the suite's encoders, merge them, and put the suite's heads on top.

    Args:
        suite: what is given.
        merge: the merge method.
        check_classes: compare the heads' classes with those of the images, which must be there.
    """
    return build_classifiers(suite, [merge], check_classes)[0]


def build_classifiers(
    suite: Suite, methods: Sequence[MergeMethod], check_classes: bool = True
) -> list[MultiTaskClassifier]:
    """One classifier per merge method, from encoders that are read once; see `build_classifier`."""
    if not methods:
        return []
    pretrained, experts = suite.load_pretrained(), suite.load_experts()
    encoders = [method.merge(pretrained, experts) for method in methods]
    return [add_heads(suite, encoder, check_classes) for encoder in encoders]


def add_heads(suite: Suite, encoder: nn.Module, check_classes: bool) -> MultiTaskClassifier:
    """An encoder with the heads of the tasks that it can do."""
    tasks = suite.experts if isinstance(encoder, PerTaskEncoder) else suite.tasks
    heads = {task: suite.load_head(task, check_classes) for task in tasks}
    return MultiTaskClassifier(
        encoder, heads, backbone=suite.backbone, experts=tuple(suite.experts)
    )
