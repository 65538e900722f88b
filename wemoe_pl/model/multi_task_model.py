"""Define the multi-task model: one merged encoder with the head of every task, for tensors."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wemoe_pl.checkpoints import Backbone
from wemoe_pl.checkpoints.heads import ClassificationHead
from wemoe_pl.errors import ConfigError, did_you_mean
from wemoe_pl.merging.baselines import PerTaskEncoder
from wemoe_pl.merging.mass import MASSEncoder
from wemoe_pl.moe.mixture import Mixture, mixtures_of
from wemoe_pl.moe.routed import Routed


class Encoded(NamedTuple):
    """`Encoded` holds what an encoder gives for the images of a task.

    Attributes:
        features: the features, (B, D).
        routing_weights: the routing weights, (B, blocks, T), as part of the graph of gradients;
            None unless asked for.
    """

    features: Tensor
    routing_weights: Tensor | None


class MultiTaskModel(nn.Module):
    """A multi-task model has an encoder and one head per task: `model(images, task)` → logits.

    Args:
        encoder: the encoder, images (B, 3, H, W) → features (B, D).
        heads: the head of each task, features (B, D) → logits (B, C).
        backbone: the architecture of the encoder, which says how images are prepared for it.
        experts: the names of the merged experts, in the order of the routing weights.
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
        for task, head in heads.items():
            check_own_head(encoder, task, head)
        self.encoder = encoder
        self.heads = nn.ModuleDict(heads)
        self.backbone = backbone
        self.experts = tuple(experts)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Return the tasks that have a head."""
        return tuple(self.heads)

    def head(self, task: str) -> ClassificationHead:
        """Return the head of a task, or raise `ConfigError`, which names the nearest task."""
        if not isinstance(task, str) or task not in self.heads:
            raise ConfigError(
                f"The model has no head for {task!r}. {did_you_mean(str(task), self.tasks)}"
            )
        head = self.heads[task]
        assert isinstance(head, ClassificationHead)
        return head

    @property
    def num_classes(self) -> dict[str, int]:
        """Return the number of classes of each task's head."""
        return {task: len(self.head(task).classes) for task in self.tasks}

    def encode(self, images: Tensor, task: str | None = None) -> Tensor:
        """Encode images (B, 3, H, W) as features (B, D); only a `PerTaskEncoder` needs the task."""
        per_task = isinstance(self.encoder, PerTaskEncoder)
        return self.encoder(images, task) if per_task else self.encoder(images)

    def forward(self, images: Tensor, task: str) -> Tensor:
        """Return the logits (B, C) of a task's classes for images (B, 3, H, W) of the task."""
        return self.head(task)(self.encode(images, task))

    def forward_tasks(self, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the logits per task for one batch of every task, in a single forward pass."""
        encoded = self.encode_tasks(images)
        return {task: self.head(task)(batch.features) for task, batch in encoded.items()}

    def encode_tasks(
        self, images: Mapping[str, Tensor], with_routing: bool = False
    ) -> dict[str, Encoded]:
        """Return the features per task for one batch of every task, in a single forward pass.

        An encoder that is told the task, or routes batches, needs one pass per task.

        Args:
            images: the images of each task, (B, 3, H, W).
            with_routing: True to keep the routing weights too, with their gradients.
        """
        one_by_one = self.routes_batches or isinstance(self.encoder, PerTaskEncoder)
        if one_by_one and len(images) > 1:
            alone = [
                self.encode_tasks({task: batch}, with_routing) for task, batch in images.items()
            ]
            return {task: encoded for found in alone for task, encoded in found.items()}
        sizes = [len(batch) for batch in images.values()]
        with self.recorded_routing(detached=False) if with_routing else nullcontext():
            features = self.encode(torch.cat(list(images.values())), next(iter(images)))
            routing = (
                torch.stack(self.routing_weights, dim=1).split(sizes) if with_routing else None
            )
        weights = routing or [None] * len(sizes)
        return dict(zip(images, map(Encoded, features.split(sizes), weights), strict=True))

    def logits(self, images: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Return the logits (B, C) of the same images (B, 3, H, W) for each of several tasks."""
        return logits_of_rows(self, images, dict.fromkeys(tasks, range(len(images))))

    @property
    def mixtures(self) -> list[Mixture]:
        """Return the upscaled MLPs and attentions, from the first block to the last."""
        return list(mixtures_of(self.encoder).values())

    @property
    def routed(self) -> list[Routed]:
        """Return the modules that route images, from the first block to the last."""
        return [m for m in self.encoder.modules() if isinstance(m, Routed)]

    @property
    def routed_names(self) -> list[str]:
        """Return the block of each routing module, with its part if several of a block route."""
        places = [n.split(".") for n, m in self.encoder.named_modules() if isinstance(m, Routed)]
        if len({place[-1] for place in places}) < 2:
            return [str(number) for number in range(len(places))]
        return [f"{block} {part}" for *_, block, part in places]

    @property
    def chooses_experts(self) -> bool:
        """Return whether an image is routed to some experts, and to the others not at all."""
        return isinstance(self.encoder, MASSEncoder)

    @property
    def routes_batches(self) -> bool:
        """Return whether the output for an image depends on the rest of its batch."""
        return any(mixture.routing == "batch" for mixture in self.mixtures)

    @property
    def routing_weights(self) -> list[Tensor]:
        """Return the routing weights of the last batch, (B, T) per block, if they were recorded."""
        recorded = (module.routing_weights for module in self.routed)
        return [weights for weights in recorded if weights is not None]

    @contextmanager
    def recorded_routing(self, detached: bool = True) -> Iterator[None]:
        """Make routing modules keep the weights of their last batch while the block runs.

        Args:
            detached: True to keep them without gradients. Weights with gradients are dropped after
                the block, as a module that holds part of a graph cannot be copied.
        """
        before = [module.record_routing for module in self.routed]
        for module in self.routed:
            module.record_routing, module.detach_routing = True, detached
        try:
            yield
        finally:
            for module, record in zip(self.routed, before, strict=True):
                module.record_routing, module.detach_routing = record, True
                if not detached:
                    module.routing_weights = None


def logits_of_rows(
    model: MultiTaskModel, images: Tensor, rows: Mapping[str, Sequence[int]]
) -> dict[str, Tensor]:
    """Return the logits (b, C) of the rows that each task has in a batch, in one forward pass.

    An encoder that is told the task needs one pass per task.

    Args:
        model: the model whose heads give the logits.
        images: the images of all tasks, (B, 3, H, W).
        rows: the b places of each task's images in the batch.
    """
    heads = {task: model.head(task) for task in rows}
    if isinstance(model.encoder, PerTaskEncoder):
        return {t: head(model.encode(images[[*rows[t]]], t)) for t, head in heads.items()}
    features = model.encode(images)
    return {task: head(features[[*rows[task]]]) for task, head in heads.items()}


def check_own_head(encoder: nn.Module, task: str, head: ClassificationHead) -> None:
    """Raise `ConfigError` for an encoder that is still a classifier of something else.

    The projection of CLIP is a `head` in timm too, but gives as many features as the heads take.
    """
    inner = getattr(encoder, "encoder", encoder)  # unwraps a `PerTaskEncoder`, for example
    own, width = getattr(inner, "head", None), head.weight.shape[1]
    if isinstance(own, nn.Linear) and own.out_features != width:
        raise ConfigError(
            f"The head of '{task}' is for {width} features, but the encoder ends in a layer of its "
            f"own with {own.out_features} outputs: call `reset_classifier(0)` on it."
        )
