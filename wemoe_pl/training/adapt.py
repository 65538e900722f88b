"""Test-time adaptation: one loop for every merge method with trainable parameters (paper §3.3)."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.nn import functional as F
from torch.optim import Adam

from wemoe_pl.checkpoints import ENCODER_FILE, save_tensors
from wemoe_pl.data.streams import Batch
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError
from wemoe_pl.merging import MergeMethod, SampleMethod, fold, folds
from wemoe_pl.model.entropy import entropy
from wemoe_pl.model.task_inference import InferenceRule
from wemoe_pl.system.provenance import provenance
from wemoe_pl.training.gathering import gather_batch
from wemoe_pl.training.merged_module import MergedModule
from wemoe_pl.training.optimization import Schedule, checked_learning_rate, scheduled
from wemoe_pl.training.scoring import log_by_task


def entropy_objective(
    logits: Tensor, diversity: float = 0.0, reliable: float | None = None
) -> tuple[Tensor, Tensor]:
    """Return the loss that adaptation minimises on one task's batch, and the entropy within it.

    The objective is the mean entropy of the predictions, minus `diversity` times the entropy of
    the mean prediction. With 0 it is the paper's; with 1, information maximisation (SHOT, arXiv
    2002.08546), which cannot be minimised by predicting one class.

    Args:
        logits: (B, C).
        diversity: weight of the second term, from 0.
        reliable: leave samples out of the mean entropy whose own is above this share of log C
            (EATA, arXiv 2204.02610, takes 0.4): what a model knows nothing about only misleads it.

    Returns:
        The objective and the mean entropy of all samples, both scalars in nats.

    Raises:
        ConfigError: there is a diversity term and a single sample, which is its own mean: at 1
            the two terms cancel, and nothing would be learned.
    """
    check_diversity(diversity, len(logits))
    log_probabilities = logits.log_softmax(dim=-1)
    entropies = entropy(log_probabilities)
    minimised = entropies.mean()
    if reliable is not None:
        trusted = (entropies.detach() <= reliable * math.log(logits.shape[-1])).to(entropies)
        minimised = (trusted * entropies).sum() / trusted.sum().clamp(min=1)
    if diversity:
        log_mean = log_probabilities.logsumexp(dim=0) - math.log(len(logits))
        minimised = minimised - diversity * entropy(log_mean)
    return minimised, entropies.mean()


def check_diversity(diversity: float, images: int) -> None:
    """Raise `ConfigError` for a diversity term over the answers for a single image."""
    if diversity and images == 1:
        raise ConfigError(
            "The diversity term compares the images of a step, and a step has a single image per "
            "task: set data.batch_size to 2 or more, or model.diversity to 0."
        )


class TestTimeAdaptation(MergedModule):
    """Adapt a merged model on unlabelled test images by minimising the entropy of its predictions.

    Only what the merge method leaves trainable is adapted: the routers of WEMoE. A static method
    has nothing to adapt and is scored with `test`.

    Args:
        suite: the pretrained encoder, experts, heads and tasks.
        merge: the merge method.
        learning_rate: of Adam; by default the published one for the method.
        schedule: of the learning rate: "cosine" anneals it to zero over the run, as WEMoE is
            published, "constant" leaves it, as AdaMerging is.
        diversity: weight of the diversity term, 0 as published; see `entropy_objective`.
        reliable: share of the largest possible entropy above which samples are not learned from;
            by default all are.
        task: the only task that `predict` answers; by default all that have a head.
        infer_task: let `predict` find out the task of each image, by the "entropy" of the heads'
            answers or by the "routing" weights, and answer for that one only.
        references: also score pretrained, task arithmetic and the individual experts, for the
            table and the normalized mean.
    """

    __test__ = False  # not a test, whatever pytest makes of its name

    def __init__(
        self,
        suite: Suite,
        merge: MergeMethod,
        learning_rate: float | None = None,
        diversity: float = 0.0,
        reliable: float | None = None,
        task: str | None = None,
        infer_task: InferenceRule | None = None,
        references: bool = True,
        schedule: Schedule = "cosine",
    ):
        super().__init__(suite, merge, task, infer_task, references)
        if isinstance(merge, SampleMethod):
            raise ConfigError(
                f"{merge.label} computes its weights from samples: set model.class_path to "
                "SampleMerging."
            )
        if not diversity >= 0:
            raise ConfigError(f"diversity is {diversity}: give a number from 0.")
        if reliable is not None and not 0 < reliable <= 1:
            raise ConfigError(f"reliable is {reliable}: give a number above 0, up to 1, or null.")
        self.learning_rate = checked_learning_rate(
            merge.learning_rate if learning_rate is None else learning_rate
        )
        self.schedule = schedule
        self.diversity = diversity
        self.reliable = reliable

    @property
    def options(self) -> dict[str, Any]:
        """Return the arguments, beside suite and merge method, that the module was made with."""
        return super().options | {
            "learning_rate": self.learning_rate,
            "diversity": self.diversity,
            "reliable": self.reliable,
            "schedule": self.schedule,
        }

    def on_fit_start(self) -> None:
        """Refuse to route by batch where no process has the whole of one."""
        if self.trainer.world_size > 1 and self.classifier.routes_batches:
            raise ConfigError(
                "Routing by batch takes the mean over the images of a step, which several devices "
                "share: set model.merge.routing to sample, or trainer.devices to 1."
            )

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Sum over tasks of the objective; the labels in the batch are not looked at.

        Returns:
            `loss`, and `predicted`: how often each class was predicted, per task.
        """
        images = {task: images for task, (images, _) in batch.items()}
        logits = gather_batch(self.trainer, self.classifier.forward_tasks(images))
        terms = {
            task: entropy_objective(values, self.diversity, self.reliable)
            for task, values in logits.items()
        }
        entropies = {task: mean_entropy for task, (_, mean_entropy) in terms.items()}
        average = torch.stack(list(entropies.values())).mean()
        log_by_task(self, "train/entropy", average, entropies)
        # Lightning averages over accumulated batches, but a step is the sum over its tasks.
        objective = torch.stack([value for value, _ in terms.values()]).sum()
        predicted = {
            task: F.one_hot(values.argmax(dim=-1), values.shape[1]).sum(dim=0)
            for task, values in logits.items()
        }
        return {"loss": objective * self.trainer.accumulate_grad_batches, "predicted": predicted}

    def export(self, out: Path, recipe: Mapping[str, Any], seed: int) -> None:
        """Write the encoder as plain weights, if what was adapted does not depend on the input.

        Where the dictionary is shared out, no process has all of it: `load` folds it later.
        """
        encoder = self.classifier.encoder
        if folds(encoder) and not isinstance(encoder, FSDPModule):
            state = fold(encoder).state_dict()
            save_tensors(out / ENCODER_FILE, state, provenance(recipe, seed))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Adam, with the learning rate of the schedule."""
        trained = self.trained_parameters()
        if not trained:
            raise ConfigError(
                f"{self.method} is a static merge with nothing to adapt: score it with "
                "`wemoe-pl test` instead of `fit`."
            )
        optimizer = Adam(trained.values(), lr=self.learning_rate)
        return scheduled(optimizer, self.schedule, self.trainer)
