"""Train experts, one per task, and a generalist on all tasks at once."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import nn
from torch.optim import Adam, AdamW
from torch.optim.lr_scheduler import OneCycleLR

from wemoe_pl.checkpoints import HEAD
from wemoe_pl.checkpoints.heads import HEAD_FILE, ClassificationHead, CosineHead, head_path
from wemoe_pl.data.suite import Suite
from wemoe_pl.merging.baselines import Pretrained
from wemoe_pl.model.classifier import MultiTaskClassifier
from wemoe_pl.training.lora import LoRA
from wemoe_pl.training.optimization import (
    Schedule,
    check_heads_are_averaged,
    count_steps,
    scheduled,
    stepwise,
)
from wemoe_pl.training.supervised import SavedPrecision, SupervisedTraining

TRAINED_LOGIT_SCALE = 20.0


class ExpertFineTuning(SupervisedTraining):
    """Fine-tuning trains the pretrained encoder on one task with a frozen head (paper, appendix A).

    It writes an expert to the run's folder: `head.safetensors`, and `encoder.safetensors` or a
    LoRA adapter as PEFT writes it.

    Args:
        suite: the suite with the pretrained encoder, whose projection stays frozen, and with the
            head unless a new one is made.
        task: the task to fine-tune on.
        learning_rate: the learning rate of Adam; the published experts used 1e-5 for 4000 steps of
            32 images.
        outside_mlps: the factor on the learning rate outside the blocks' MLPs. Below 1, the task
            vectors lie in the MLPs, where WEMoE can tell them apart; 1 as published.
        schedule: the schedule of the rate: "constant", as published, or "cosine" to zero.
        head: the source of the head: "suite", or "prototypes" for a new one from the mean features
            of the training images, if the suite has none.
        save_as: the precision of the saved encoder or adapter.
        adapter: the adapter to train while the encoder stays as it is; by default the encoder
            itself is trained.
    """

    def __init__(
        self,
        suite: Suite,
        task: str,
        learning_rate: float = 1e-5,
        outside_mlps: float = 1.0,
        schedule: Schedule = "constant",
        head: Literal["suite", "prototypes"] = "suite",
        save_as: SavedPrecision = "float32",
        adapter: LoRA | None = None,
    ):
        super().__init__(suite, learning_rate, save_as)
        suite.task(task)
        self.adapter = adapter
        self.task = task
        self.outside_mlps = outside_mlps
        self.schedule = schedule
        self.head_from = head

    def build(self) -> MultiTaskClassifier:
        """Build the pretrained encoder, trainable, with the frozen head of the task."""
        encoder = with_frozen_projection(self.suite.load_pretrained())
        head = self._head(encoder)
        if self.adapter:
            self.adapter.add_to(encoder)
        return MultiTaskClassifier(encoder, {self.task: head}, backbone=self.suite.backbone)

    def build_references(self) -> dict[str, MultiTaskClassifier]:
        """Build the pretrained encoder with the same head."""
        encoder = Pretrained().merge(self.suite.load_pretrained(), {})
        head = {self.task: self.classifier.head(self.task)}
        return {"pretrained": MultiTaskClassifier(encoder, head, backbone=self.suite.backbone)}

    @property
    def takes_head(self) -> bool:
        """Return whether the head is the suite's."""
        return self.head_from == "suite"

    def _head(self, encoder: nn.Module) -> ClassificationHead:
        if self.takes_head:
            return self.suite.load_head(self.task)
        return self.prototypes(encoder, self.task)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return Adam with one learning rate for the MLPs and one for the rest of the encoder."""
        trained = self.trained_parameters()
        mlps = [weight for name, weight in trained.items() if ".mlp." in name]
        others = [weight for name, weight in trained.items() if ".mlp." not in name]
        groups = [
            {"params": mlps, "lr": self.learning_rate},
            {"params": others, "lr": self.learning_rate * self.outside_mlps},
        ]
        return scheduled(Adam(groups), self.schedule, self.trainer)

    @property
    def frozen_suite(self) -> Suite:
        """Return the suite with this task alone, without experts, which may not exist yet."""
        return replace(
            self.suite,
            experts={},
            tasks={self.task: self.suite.tasks[self.task]},
            heads={t: h for t, h in self.suite.heads.items() if t == self.task and self.takes_head},
            text_tower=self.suite.text_tower if self.takes_head else None,
        )

    def head_file(self, out: Path, task: str) -> Path:
        """Return the file of the head, which is next to the encoder's."""
        return out / HEAD_FILE

    def export_encoder(self, out: Path, metadata: dict[str, str], dtype: torch.dtype) -> None:
        """Write the adapter, if one was trained, or else the encoder."""
        if self.adapter is None:
            super().export_encoder(out, metadata, dtype)
        else:
            source = self.suite.named_sources().get("pretrained", ("", ""))
            self.adapter.write(self.classifier.encoder, out, source[0], metadata, dtype)


class MultiTaskTraining(SupervisedTraining):
    """Traditional multi-task learning trains one encoder on the labelled images of all tasks.

    It writes `encoder.safetensors` and `heads/<task>.safetensors` to the run's folder.

    Args:
        suite: the suite with the tasks and, unless training is from scratch, with the pretrained
            encoder and the heads.
        learning_rate: the highest rate of AdamW, warmed up over a tenth of the run, then annealed.
        weight_decay: the weight decay of AdamW.
        from_scratch: True to start from random weights and train the heads too, as for the
            miniature's generalist. Otherwise the pretrained encoder is trained, with frozen heads.
        head_shots: the number of training images per class whose mean features replace the heads
            at the end: imprecise, as the zero-shot heads of CLIP are. By default the heads stay.
        save_as: the precision of the saved encoder and heads.
    """

    def __init__(
        self,
        suite: Suite,
        learning_rate: float = 1e-5,
        weight_decay: float = 0.0,
        from_scratch: bool = False,
        head_shots: int | None = None,
        save_as: SavedPrecision = "float32",
    ):
        super().__init__(suite, learning_rate, save_as)
        self.weight_decay = weight_decay
        self.from_scratch = from_scratch
        self.head_shots = head_shots

    def build(self) -> MultiTaskClassifier:
        """Build the encoder, trainable, with the heads of all tasks."""
        if not self.from_scratch:
            heads = {task: self.suite.load_head(task) for task in self.suite.tasks}
            encoder = with_frozen_projection(self.suite.load_pretrained())
            return MultiTaskClassifier(encoder, heads, backbone=self.suite.backbone)
        encoder = self.suite.backbone.build()
        heads = {
            name: new_head(self.suite.backbone.feature_dim, task.classes)
            for name, task in self.suite.tasks.items()
        }
        return MultiTaskClassifier(encoder, heads, backbone=self.suite.backbone)

    def on_fit_start(self) -> None:
        """Refuse heads that DDP would not average, having no part in the last batch of a step."""
        if self.from_scratch:
            check_heads_are_averaged(self.trainer)

    def on_train_epoch_end(self) -> None:
        """Replace the heads by few-shot ones, if these are asked for, before they are saved."""
        if self.head_shots:
            encoder = self.classifier.encoder.eval()
            for task in self.classifier.tasks:
                head = self.prototypes(encoder, task, self.head_shots)
                head.weight.requires_grad_(True)  # checkpoints hold only what requires gradients
                self.classifier.heads[task] = head.to(self.device)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with one cycle of the learning rate over the run."""
        trained = self.trained_parameters().values()
        optimizer = AdamW(trained, lr=self.learning_rate, weight_decay=self.weight_decay)
        scheduler = OneCycleLR(
            optimizer, self.learning_rate, total_steps=count_steps(self.trainer), pct_start=0.1
        )
        return stepwise(optimizer, scheduler)

    @property
    def frozen_suite(self) -> Suite | None:
        """Return the suite without its experts; None when training from scratch."""
        return None if self.from_scratch else replace(self.suite, experts={})

    def head_file(self, out: Path, task: str) -> Path:
        """Return the file of a head, which is named after its task."""
        return head_path(out, task)


def with_frozen_projection(encoder: nn.Module) -> nn.Module:
    """Freeze an encoder's projection to CLIP's joint space, as in the published experts."""
    for name, parameter in encoder.named_parameters():
        if name.startswith(HEAD):
            parameter.requires_grad_(False)
    return encoder


def new_head(feature_dim: int, classes: tuple[str, ...]) -> CosineHead:
    """Make a trainable head of random directions."""
    vectors = torch.randn(len(classes), feature_dim)
    head = CosineHead(vectors, classes, TRAINED_LOGIT_SCALE)
    head.weight.requires_grad_(True)
    return head
