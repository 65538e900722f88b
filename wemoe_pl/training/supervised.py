"""Define what training an expert and training a generalist share: cross-entropy on labels."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wemoe_pl.checkpoints import ENCODER_FILE, save_tensors
from wemoe_pl.checkpoints.heads import ClassificationHead, prototype_head, save_head
from wemoe_pl.data.streams import Batch
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.vision_data import VisionData
from wemoe_pl.errors import ConfigError
from wemoe_pl.system.provenance import provenance
from wemoe_pl.training.gathering import gather_batch
from wemoe_pl.training.module import MultiTaskModule
from wemoe_pl.training.optimization import checked_learning_rate
from wemoe_pl.training.scoring import log_by_task

SavedPrecision = Literal["float32", "float16"]


class SupervisedTraining(MultiTaskModule):
    """Supervised training minimises cross-entropy on labelled images, and writes safetensors."""

    needs_labels = True

    def __init__(self, suite: Suite, learning_rate: float, save_as: SavedPrecision):
        super().__init__(suite)
        self.learning_rate = checked_learning_rate(learning_rate)
        self.save_as = save_as

    @property
    def method(self) -> str:
        """Return the name of the class, which results and tables show."""
        return type(self).__name__

    @property
    def data(self) -> VisionData | None:
        """Return the trainer's data module; None unless it is a `VisionData`."""
        data = getattr(self.trainer, "datamodule", None)
        return data if isinstance(data, VisionData) else None

    def setup(self, stage: str) -> None:
        """Refuse to train on images that are scored or have no labels, before models are read."""
        super().setup(stage)
        if stage == "fit" and self.data is not None:
            if self.data.stream != "train":
                raise ConfigError(
                    "Training needs labelled training images: set data.stream to train."
                )
            for wanted in self.data.sets.streamed.values():
                self.data.sets.load_labelled(wanted)

    def on_train_start(self) -> None:
        """Switch to training mode, for backbones with dropout and the like."""
        self.classifier.train()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the mean over tasks of the cross-entropy of each task's batch."""
        images = {task: images for task, (images, _) in batch.items()}
        logits = gather_batch(self.trainer, self.classifier.forward_tasks(images))
        labels = gather_batch(self.trainer, {task: labels for task, (_, labels) in batch.items()})
        losses = {task: F.cross_entropy(logits[task], labels[task]) for task in batch}
        loss = torch.stack(list(losses.values())).mean()
        log_by_task(self, "train/loss", loss, losses)
        return loss

    def prototypes(
        self, encoder: nn.Module, task: str, shots: int | None = None
    ) -> ClassificationHead:
        """Make a head from the mean features of training images: `shots` per class, or all."""
        if self.data is None:
            raise ConfigError("A prototype head needs images: give the trainer a data module.")
        batches = self.data.few_shots(task, shots)
        return prototype_head(encoder, batches, self.suite.task(task).classes)

    @abstractmethod
    def head_file(self, out: Path, task: str) -> Path:
        """Return the file into which `export` puts the head of a task."""

    def export(self, out: Path, recipe: Mapping[str, Any], seed: int) -> None:
        """Write the encoder and the heads as safetensors that name their recipe."""
        dtype = getattr(torch, self.save_as)
        metadata = provenance(recipe, seed)
        self.export_encoder(out, metadata, dtype)
        for task in self.classifier.tasks:
            head = self.classifier.head(task)
            save_head(self.head_file(out, task), head, metadata, dtype)

    def export_encoder(self, out: Path, metadata: dict[str, str], dtype: torch.dtype) -> None:
        """Write the encoder, in a precision that may be lower than that of training."""
        save_tensors(out / ENCODER_FILE, self.classifier.encoder.state_dict(), metadata, dtype)
