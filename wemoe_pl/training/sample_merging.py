"""Merge in closed form from samples: one pass over some images of every task, and no optimiser."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wemoe_pl.checkpoints import ENCODER_FILE, save_tensors
from wemoe_pl.data.streams import Batch
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import UNLABELLED
from wemoe_pl.errors import ConfigError, DataError
from wemoe_pl.merging.baselines import PerTaskEncoder
from wemoe_pl.merging.from_samples import SampleMethod
from wemoe_pl.model.task_inference import InferenceRule
from wemoe_pl.system.provenance import provenance
from wemoe_pl.training.merged_module import MergedModule
from wemoe_pl.training.module import is_fitting
from wemoe_pl.training.optimization import count_steps


class SampleMerging(MergedModule):
    """Sample merging is Fisher merging, RegMean or RegMean++: experts see samples of their tasks.

    A fit has `trainer.max_steps` batches of every task. It writes the merged weights to
    `encoder.safetensors` and to its checkpoint.

    Args:
        suite: the pretrained encoder, experts, heads and tasks.
        merge: the merge method.
        task: the only task that `predict` answers; by default all that have a head.
        infer_task: the rule ("entropy" of the heads' answers) by which `predict` infers the one
            task that it answers for an image.
        references: True to also score pretrained, task arithmetic and the individual experts, for
            the table and the normalized mean.
    """

    merge: SampleMethod
    learns_by_steps = False  # the weights are solved for at the end
    resumable = False  # a checkpoint would need sums as large as a model for every task

    def __init__(
        self,
        suite: Suite,
        merge: SampleMethod,
        task: str | None = None,
        infer_task: InferenceRule | None = None,
        references: bool = True,
    ):
        super().__init__(suite, merge, task, infer_task, references)
        self.solved = False

    def on_fit_start(self) -> None:
        """Start the sums over samples; the experts take turns in one encoder."""
        count_steps(self.trainer)  # refuses a run without an end
        if getattr(getattr(self.trainer, "datamodule", None), "proportions", None) is not None:
            raise ConfigError(
                f"{self.method} takes the same number of samples of every task: leave out "
                "data.proportions."
            )
        if self.trainer.world_size > 1:
            raise ConfigError(
                f"{self.method} sums over its samples in one process: set trainer.devices to 1. "
                "The checkpoint that it leaves can be scored on several."
            )
        frozen = self.suite.load_pretrained().requires_grad_(False).to(self.device)
        experts = self.suite.load_experts()
        self.experts = PerTaskEncoder(frozen, experts)
        self.sums = self.merge.start(frozen, experts)

    def configure_optimizers(self) -> None:
        """Return no optimiser: Lightning then counts steps, and does nothing else."""

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the samples of every task to the sums, by the task's own expert."""
        for task, (images, labels) in batch.items():
            if self.merge.needs_labels and (labels == UNLABELLED).any():
                raise DataError(
                    f"{self.method} needs labelled samples, but those of '{task}' have no labels: "
                    "set data.stream to train."
                )
            expert, head = self.experts.become(task), self.classifier.head(task)
            self.sums.add(task, expert, head, images, labels)

    def on_validation_epoch_start(self) -> None:
        """Solve for the weights from the samples so far, which a fit's validation then scores."""
        if is_fitting(self) and not self.trainer.sanity_checking:
            self.solve()

    def on_train_epoch_end(self) -> None:
        """Solve for the merged weights, before they are saved."""
        self.solve()
        del self.experts, self.sums

    def solve(self) -> None:
        """Solve for the merged weights, and load them into the classifier."""
        encoder = self.classifier.encoder
        averages = self.merge.merge(self.suite.load_pretrained(), self.suite.load_experts())
        state = {name: w.to(self.device) for name, w in averages.state_dict().items()}
        encoder.load_state_dict(state | self.sums.solve(state))
        self.solved = True

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Accept the checkpoint of a finished fit; a fit cannot be resumed."""
        super().on_load_checkpoint(checkpoint)
        if is_fitting(self) and checkpoint["global_step"] != count_steps(self.trainer):
            raise ConfigError(
                f"A fit of {self.method} cannot be resumed, since it is one pass over its samples: "
                "leave out --ckpt_path."
            )
        self.solved = True

    def on_test_start(self) -> None:
        """Refuse to score weights before they are computed: until then they are an average."""
        self.check_solved()

    def on_predict_start(self) -> None:
        """Refuse to predict with weights before they are computed."""
        self.check_solved()
        super().on_predict_start()

    def check_solved(self) -> None:
        """Raise `ConfigError` unless the weights have been computed."""
        if not self.solved:
            raise ConfigError(
                f"{self.method} computes its weights from samples: run `wemoe-pl fit`, or give the "
                "checkpoint of a fit with --ckpt_path DIR/checkpoints/last.ckpt."
            )

    def export(self, out: Path, recipe: Mapping[str, Any], seed: int) -> None:
        """Write the merged encoder."""
        encoder = self.classifier.encoder.state_dict()
        save_tensors(out / ENCODER_FILE, encoder, provenance(recipe, seed))
