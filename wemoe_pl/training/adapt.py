"""Adapt any merge method with trainable parameters to unlabelled test images (paper, §3.3)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch.distributed.fsdp import FSDPModule
from torch.nn import functional as F
from torch.optim import Adam

from wemoe_pl.checkpoints import ENCODER_FILE, save_tensors
from wemoe_pl.checkpoints.heads import head_path, save_head
from wemoe_pl.data.streams import Batch
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.folding import fold, folds
from wemoe_pl.merging.from_samples import SampleMethod
from wemoe_pl.model.entropy import mean_entropy
from wemoe_pl.model.task_inference import InferenceRule
from wemoe_pl.system.provenance import provenance
from wemoe_pl.training.experts import OF_EXPERTS, ExpertAnswers, origins_of
from wemoe_pl.training.gathering import gather_batch
from wemoe_pl.training.initialising import initialise, judge_experts
from wemoe_pl.training.merged_module import MergedModule
from wemoe_pl.training.objectives.base import (
    Objective,
    check_finite_losses,
    check_objective,
    loss_of,
    needs_of,
)
from wemoe_pl.training.objectives.entropy import Entropy, with_old_options
from wemoe_pl.training.objectives.outputs import AdaptationOutputs, compute_needs
from wemoe_pl.training.open_stream import check_open_stream, open_step, routes_batches, rule_of
from wemoe_pl.training.optimization import (
    Schedule,
    check_heads_are_averaged,
    checked_learning_rate,
    scheduled,
)
from wemoe_pl.training.scoring import log_by_task


class TestTimeAdaptation(MergedModule):
    """Test-time adaptation minimises an objective of a merged model on unlabelled test images.

    It adapts only the parameters that the merge method leaves trainable, such as the routers of
    WEMoE. A static method has none, and is scored with `test` instead.

    Args:
        suite: the pretrained encoder, experts, heads and tasks.
        merge: the merge method.
        learning_rate: the learning rate of Adam; by default the published one for the method.
        schedule: the schedule of the learning rate: "cosine" anneals it to zero over the run, as
            published for WEMoE; "constant" keeps it, as published for AdaMerging.
        diversity: an option of earlier versions which, like `reliable`, makes the objective
            `InformationMaximisation`; give `objective` instead.
        reliable: an option of earlier versions; see `diversity`.
        task: the only task that `predict` answers; by default all that have a head.
        infer_task: the rule by which `predict` infers the one task that it answers for an image:
            "entropy" of the heads, "routing", or largest "logit" of the tasks that MASS chose.
        references: True to also score pretrained, task arithmetic and the individual experts, for
            the table and the normalized mean.
        objective: the objective to minimise, summed over tasks; by default the paper's, `Entropy`.
        announced: True if the tasks of images are known. Otherwise the images of a step are mixed,
            the task of each is inferred (by `infer_task`, by default "entropy"), and the objective
            is summed over the inferred tasks.
    """

    __test__ = False  # pytest would take it for a test because of its name

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
        objective: Objective | None = None,
        announced: bool = True,
    ):
        super().__init__(suite, merge, task, infer_task, references)
        if isinstance(merge, SampleMethod):
            raise ConfigError(
                f"{merge.label} computes its weights from samples: set model.class_path to "
                "SampleMerging."
            )
        self.learning_rate = checked_learning_rate(
            merge.learning_rate if learning_rate is None else learning_rate
        )
        self.schedule = schedule
        self.objective = with_old_options(objective, diversity, reliable)
        check_objective(self.objective)
        self.announced = announced
        self.needs = needs_of(self.objective)
        self._experts: ExpertAnswers | None = None
        self.expert_note = ""

    @property
    def options(self) -> dict[str, Any]:
        """Return the arguments of the module, except the suite and the merge method."""
        return super().options | {
            "learning_rate": self.learning_rate,
            "schedule": self.schedule,
            "objective": self.objective,
            "announced": self.announced,
        }

    def on_fit_start(self) -> None:
        """Check that merge method, objective and stream go together, and prepare the fit."""
        check_fit_of(self)
        check_stream_of(self, self.trainer.world_size, self.trainer.accumulate_grad_batches)
        if self.merge.initial_images and self.trainer.ckpt_path is None:
            with self.clock.timed("build"):
                initialise(self)
        if wanted := self.needs & OF_EXPERTS:
            place = next(self.classifier.parameters())
            self._experts = ExpertAnswers(self.suite, place, origins_of(self.trainer), wanted)
            self.expert_note = judge_experts(self, self._experts, self.objective)

    def on_fit_end(self) -> None:
        """Free the experts and their answers."""
        self._experts = None

    def outputs(self, batch: Batch) -> dict[str, AdaptationOutputs]:
        """Return the outputs for a batch, by task: the logits, and what else the objective needs.

        With several processes, the outputs are for the batch of all processes, and a loss of them
        has the gradients that it has in one process. The labels in the batch are not read.

        Args:
            batch: the images (B, 3, H, W) and labels (B,) by task.
        """
        images, encoded = open_step(self, {task: images for task, (images, _) in batch.items()})
        shares = compute_needs(self.classifier, images, self.needs, self._experts, encoded)
        found = {name: gather_batch(self.trainer, share) for name, share in shares.items()}
        logits = found.pop("logits")
        return {
            task: AdaptationOutputs(task, values, {need: found[need][task] for need in self.needs})
            for task, values in logits.items()
        }

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        """Compute the sum over tasks of the objective; the labels in the batch are not read.

        Returns:
            `loss`, and `predicted`: how often each class was predicted, per task. A sub-class may
            return the loss alone.
        """
        outputs = self.outputs(batch)
        losses = {task: loss_of(self.objective, own) for task, own in outputs.items()}
        check_finite_losses(self.objective, outputs, losses)
        logits = {task: own.logits.detach() for task, own in outputs.items()}
        entropies = {task: mean_entropy(values) for task, values in logits.items()}
        log_by_task(self, "train/entropy", torch.stack([*entropies.values()]).mean(), entropies)
        of_tasks = torch.stack(list(losses.values()))
        if type(self.objective) is not Entropy:
            log_by_task(self, "train/loss", of_tasks.mean(), losses)
        predicted = {
            task: F.one_hot(values.argmax(dim=-1), values.shape[1]).sum(dim=0)
            for task, values in logits.items()
        }
        # Lightning averages over accumulated batches, but a step is the sum over its tasks.
        loss = of_tasks.sum() * self.trainer.accumulate_grad_batches
        return {"loss": loss, "predicted": predicted}

    def export(self, out: Path, recipe: Mapping[str, Any], seed: int) -> None:
        """Write the encoder as plain weights, if its merged weights do not depend on the input.

        Heads that were adapted are written next to it. The encoder is not written if its dictionary
        is sharded, since no process has all of it: `load` folds it later.
        """
        encoder, metadata = self.classifier.encoder, provenance(recipe, seed)
        if folds(encoder) and not isinstance(encoder, FSDPModule):
            save_tensors(out / ENCODER_FILE, fold(encoder).state_dict(), metadata)
        for task in self.suite.experts if self.merge.trains_heads else ():
            save_head(head_path(out, task), self.classifier.head(task), metadata)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return Adam with the learning rate of the schedule."""
        trained = self.trained_parameters()
        if not trained:
            raise ConfigError(
                f"{self.method} is a static merge with nothing to adapt: score it with "
                "`wemoe-pl test` instead of `fit`."
            )
        optimizer = Adam(trained.values(), lr=self.learning_rate)
        return scheduled(optimizer, self.schedule, self.trainer)


def check_stream_of(module: TestTimeAdaptation, processes: int, batches: int) -> None:
    """Raise `ConfigError` if a module cannot adapt on its stream; no model has to be built.

    Args:
        module: the module that adapts.
        processes: the number of processes that share a step.
        batches: the number of batches that a step is split into.
    """
    if processes > 1 and routes_batches(module):
        raise ConfigError(
            "Routing by batch takes the mean over the images of a step, which several devices "
            "share: set model.merge.routing to sample, or trainer.devices to 1."
        )
    check_open_stream(module, processes, batches)


def check_fit_of(module: TestTimeAdaptation) -> None:
    """Raise `ConfigError` if merge method, objective and trainer do not go together."""
    if not module.announced:
        module.classifier.check_rule(rule_of(module))
    if module.merge.trains_heads:
        check_heads_are_averaged(module.trainer)
    if "routing_weights" in module.needs and not module.classifier.mixtures:
        raise ConfigError(
            f"The objective {type(module.objective).__name__} needs routing weights, but "
            f"{module.merge.label} has no routers: choose another objective, or merge by WEMoE."
        )
