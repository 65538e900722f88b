"""The product: one merged encoder with the head of every task."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import NamedTuple, get_args

import torch
from torch import Tensor, nn

from wemoe_pl.checkpoints import Backbone
from wemoe_pl.checkpoints.heads import ClassificationHead
from wemoe_pl.data.preprocessing import AnyImages, Preprocessing, prepared_batches
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError, at_least, did_you_mean
from wemoe_pl.merging import MergeMethod, PerTaskEncoder
from wemoe_pl.model.task_inference import BEST_RULE, Rule, has_entropies, infer_task
from wemoe_pl.moe.layers import WeightEnsemblingMoE

Ranking = list[tuple[str, float]]


class Prediction(NamedTuple):
    """What a classifier says of an image.

    Attributes:
        task: told or inferred.
        task_confidence: from 0 to 1; None if the task was told, or is the only one.
        class_name: the most probable class of the task.
        probability: of this class.
        top: the most probable classes with their probabilities, as many as were asked for.
    """

    task: str
    task_confidence: float | None
    class_name: str
    probability: float
    top: Ranking


class MultiTaskClassifier(nn.Module):
    """An encoder and one frozen head per task: `model(images, task)` → logits.

    `model.predict("photo.png")` answers in words. What it is given, it prepares and moves to where
    the model is; all else takes tensors, as modules do.

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

    @cached_property
    def preprocess(self) -> Preprocessing:
        """An image → what the encoder takes of it, (3, H, W)."""
        return Preprocessing(self.backbone)

    @torch.inference_mode()
    def predict(
        self,
        images: AnyImages,
        task: str | None = None,
        *,
        top: int = 1,
        rule: Rule = BEST_RULE,
        batch_size: int = 64,
    ) -> list[Prediction]:
        """Classify images, each by the head of its task.

        Args:
            images: an image, the path of one, some of these, or (n, 3, H, W) prepared by
                `preprocess`.
            task: of all images; by default that of each is inferred.
            top: how many classes the answers list.
            rule: how tasks are inferred, by the "entropy" of the heads' answers or by "routing".
            batch_size: images that are in memory at once.

        Returns:
            An answer per image.

        Raises:
            WeMoEError: there is no such image or task, or the model cannot infer it.
        """
        at_least(1, "top", top)
        tasks = self.tasks if task is None else [task]
        choose_by = rule if len(tasks) > 1 else None
        return [
            prediction
            for batch in self.batches(images, batch_size)
            for [prediction] in self.answer(batch, tasks, choose_by, top)
        ]

    @torch.inference_mode()
    def routing(self, images: AnyImages, batch_size: int = 64) -> dict[str, Tensor]:
        """How images are routed: the weights of every expert, (n, blocks), by its name.

        Args:
            images: as for `predict`.
            batch_size: images that are in memory at once.

        Raises:
            ConfigError: the model has no routers.
        """
        if not self.mixtures:
            raise ConfigError(
                "This model has no routers: its weights are the same for every image."
            )
        weights = []
        with self.recorded_routing():
            for batch in self.batches(images, batch_size):
                self.encode(batch)
                weights.append(torch.stack(self.routing_weights, dim=1))
        by_expert = torch.cat(weights).float().unbind(dim=-1)
        return dict(zip(self.experts, by_expert, strict=True))

    def batches(self, images: AnyImages, batch_size: int) -> Iterator[Tensor]:
        """Images as `predict` takes them → (B, 3, H, W), where the model is."""
        at_least(1, "batch_size", batch_size)
        weight = next(self.parameters())
        for batch in prepared_batches(images, self.preprocess, batch_size):
            yield batch.to(weight)

    def answer(
        self, images: Tensor, tasks: Sequence[str], rule: Rule | None, top: int = 1
    ) -> list[list[Prediction]]:
        """For each image of (B, 3, H, W), an answer per task, or by a rule for one of the tasks."""
        if rule is not None:
            self.check_rule(rule)
        with self.recorded_routing():
            logits = self.logits(images, tasks)
            routing_weights = self.routing_weights
        rankings = {
            task: ranked(each, self.head(task).classes, top) for task, each in logits.items()
        }
        asked: Sequence[Sequence[tuple[str, float | None]]]
        if rule is None:
            asked = [[(task, None) for task in tasks]] * len(images)
        else:
            inferred = infer_task(rule, logits, routing_weights, self.experts)
            found = zip(*(values.tolist() for values in inferred), strict=True)
            asked = [[(tasks[place], confidence)] for place, confidence in found]
        return [
            [
                Prediction(task, confidence, *rankings[task][i][0], rankings[task][i])
                for task, confidence in row
            ]
            for i, row in enumerate(asked)
        ]

    def logits(self, images: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """The logits of one and the same images (B, 3, H, W) for several tasks, each (B, C)."""
        heads = {task: self.head(task) for task in tasks}
        if isinstance(self.encoder, PerTaskEncoder):
            return {task: head(self.encode(images, task)) for task, head in heads.items()}
        features = self.encode(images)
        return {task: head(features) for task, head in heads.items()}

    def check_rule(self, rule: Rule) -> None:
        """Raise `ConfigError` if the model cannot infer tasks by a rule."""
        if rule not in get_args(Rule):
            raise ConfigError(f"There is no rule '{rule}'. {did_you_mean(rule, get_args(Rule))}")
        if isinstance(self.encoder, PerTaskEncoder):
            raise ConfigError(
                "This model has an encoder per task: say which task the images are of."
            )
        if rule == "routing" and not self.mixtures:
            raise ConfigError(
                "This model has no routers to infer the task by: use the rule 'entropy'."
            )
        if rule == "entropy" and not has_entropies(self.num_classes):
            single = min(self.num_classes, key=lambda task: self.num_classes[task])
            raise ConfigError(
                f"The task '{single}' has one class, of which its head is certain for any image: "
                "say which task the images are of"
                + (", or infer it by the rule 'routing'." if self.mixtures else ".")
            )

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

    @contextmanager
    def recorded_routing(self) -> Iterator[None]:
        """Let mixtures keep the routing weights of their last batch, in a block."""
        before = [mixture.record_routing for mixture in self.mixtures]
        for mixture in self.mixtures:
            mixture.record_routing = True
        try:
            yield
        finally:
            for mixture, record in zip(self.mixtures, before, strict=True):
                mixture.record_routing = record

    @property
    def separates_tasks(self) -> bool:
        """Must the images of each task have a pass of their own?"""
        return self.routes_batches or isinstance(self.encoder, PerTaskEncoder)

    @property
    def routes_batches(self) -> bool:
        """Does what becomes of an image depend on the rest of its batch?"""
        return any(mixture.routing == "batch" for mixture in self.mixtures)

    def __repr__(self) -> str:
        """What it is, and how it is used."""
        weight = next(self.parameters())
        place = f"{str(weight.dtype).removeprefix('torch.')} on {weight.device}"
        size = sum(p.numel() for p in self.encoder.parameters())
        merged = f"{len(self.mixtures)} mixtures of {', '.join(self.experts)}"
        classes = ", ".join(f"{task} ({number})" for task, number in self.num_classes.items())
        return "\n".join(
            [
                f"MultiTaskClassifier: {self.backbone.model}, {size:,} parameters, {place}",
                f"  {merged if self.mixtures else 'one set of weights for all images'}",
                f"  tasks (classes): {classes}",
                '  model.predict("photo.png") names task and class',
                f'  model(images, "{self.tasks[0]}") gives logits of what model.preprocess made',
            ]
        )


def ranked(logits: Tensor, classes: Sequence[str], top: int) -> list[Ranking]:
    """For each row of (B, C), the most probable classes with their probabilities, best first."""
    best = logits.softmax(dim=-1).topk(min(top, len(classes)), dim=-1)
    return [
        [(classes[label], probability) for label, probability in zip(*row, strict=True)]
        for row in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


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
