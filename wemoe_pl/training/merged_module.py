"""Define the base class of the LightningModules that train or compute merged models."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch

from wemoe_pl.data.streams import Batch
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import CheckpointError, ConfigError
from wemoe_pl.merging.base import NOT_ADAPTED, MergeMethod, checked_method
from wemoe_pl.model.building import build_classifier, build_classifiers
from wemoe_pl.model.classifier import MultiTaskClassifier
from wemoe_pl.model.measured import Measured
from wemoe_pl.model.recipe import describe, rebuild, rebuild_options
from wemoe_pl.model.task_inference import InferenceRule
from wemoe_pl.runs.checkpoint import IDENTITY, read_checkpoint
from wemoe_pl.training.module import MultiTaskModule
from wemoe_pl.training.references import REFERENCES


class MergedModule(MultiTaskModule):
    """A `MergedModule` merges a suite, and its test compares the result with the references.

    Args:
        suite: the pretrained encoder, experts, heads and tasks.
        merge: the merge method.
        task: the only task that `predict` answers; by default all that have a head.
        infer_task: the rule by which `predict` infers the one task that it answers for an image:
            "entropy" of the heads, "routing", or largest "logit" of the tasks that MASS chose.
        references: True to also score pretrained, task arithmetic and the individual experts.

    Attributes:
        measured: the measurements of the run whose checkpoint is used; by its thresholds, `predict`
            says that an image is of none of the tasks.
    """

    def __init__(
        self,
        suite: Suite,
        merge: MergeMethod,
        task: str | None = None,
        infer_task: InferenceRule | None = None,
        references: bool = True,
    ):
        super().__init__(suite)
        if task is not None:
            suite.task(task)
            if infer_task is not None:
                raise ConfigError(f"The task is given as '{task}': leave out model.infer_task.")
        self.merge = checked_method(merge)
        self.initial_routing_weight = merge.initial_weight(len(suite.experts))
        self.infer_task = infer_task
        self.only_task = task
        self.compare = references
        self.is_adapted = False
        self.measured = Measured()

    @property
    def method(self) -> str:
        """Return the name of the merge method, which says so if nothing of it was adapted yet."""
        built = hasattr(self, "classifier")
        unadapted = built and not self.is_adapted and bool(self.trained_parameters())
        return f"{self.merge.label}{NOT_ADAPTED}" if unadapted else self.merge.label

    @property
    def predict_tasks(self) -> Sequence[str]:
        """Return the task that was asked for, or all that have a head."""
        return [self.only_task] if self.only_task else self.classifier.tasks

    def on_predict_start(self) -> None:
        """Refuse a rule by which the model cannot infer tasks, and hand over what was measured."""
        if self.infer_task is not None:
            self.classifier.check_rule(self.infer_task)
            self.classifier.measured = self.measured

    def build(self) -> MultiTaskClassifier:
        """Build the merged encoder with the suite's heads."""
        return build_classifier(self.suite, self.merge)

    @property
    def columns(self) -> dict[str, MergeMethod]:
        """Return the methods that this one is compared with, by the name of their column."""
        return {key: reference.method_for(self.merge) for key, reference in REFERENCES.items()}

    @property
    def own_reference(self) -> str | None:
        """Return the name of the column whose method is this one; None if there is none."""
        return next((name for name, m in self.columns.items() if m == self.merge), None)

    @property
    def references(self) -> dict[str, MergeMethod]:
        """Return the methods of the other columns; {} if the module compares nothing."""
        if not self.compare:
            return {}
        return {name: m for name, m in self.columns.items() if name != self.own_reference}

    def build_references(self) -> dict[str, MultiTaskClassifier]:
        """Build the models of `references`, by the name of their column."""
        methods = self.references
        classifiers = build_classifiers(self.suite, list(methods.values()))
        return dict(zip(methods, classifiers, strict=True))

    def on_train_start(self) -> None:
        """Note that the model is adapted from now on."""
        self.is_adapted = True

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check a checkpoint, and note that the model is adapted once it is loaded."""
        self.is_adapted = True
        super().on_load_checkpoint(checkpoint)

    @property
    def options(self) -> dict[str, Any]:
        """Return the arguments of the module, except the suite and the merge method."""
        return {"task": self.only_task, "infer_task": self.infer_task, "references": self.compare}

    @property
    def identity(self) -> dict[str, Any]:
        """Return the identity of the model, and the options of the module."""
        return super().identity | {"options": describe(self.options)}

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # Lightning's other arguments do not apply
        cls,
        checkpoint_path: str | Path,
        map_location: str | torch.device | None = None,
        allow: Sequence[str] = (),
        **given: Any,
    ) -> Self:
        """Rebuild a module of this class with the weights that a fit has learned.

        The pretrained encoder, the experts and the heads are read from where they were, and their
        hashes are compared. Models that were in memory have to be given again, as `suite`.

        Args:
            checkpoint_path: the checkpoint of a run, or of your own trainer.
            map_location: the device that the module is moved to; by default it is on the CPU.
            allow: the packages whose classes the checkpoint may name, as with `--allow`.
            **given: arguments of the module that replace those of the checkpoint.

        Raises:
            CheckpointError: it is missing, damaged, of another module, or of other weights.
            ConfigError: it names classes of other packages.
        """
        path = Path(checkpoint_path).expanduser()
        checkpoint = read_checkpoint(path)
        recipe = checkpoint[IDENTITY]["recipe"]
        if not recipe:
            raise CheckpointError(
                f"{path} is not a checkpoint of a {cls.__name__}: it holds no merged model."
            )
        suite, merge = rebuild(recipe, allow)
        saved = checkpoint[IDENTITY].get("options", {})  # earlier versions wrote none
        wanted = {name: value for name, value in saved.items() if name not in given}
        options = rebuild_options(cls, wanted, allow)
        module = cls(**{"suite": suite, "merge": merge, **options, **given})
        module.configure_model()
        module.on_load_checkpoint(checkpoint)
        module.load_state_dict(checkpoint["state_dict"], strict=False)
        return module.to(map_location) if map_location is not None else module

    @abstractmethod
    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        """Learn from one batch of every task."""

    @property
    def recipe(self) -> dict[str, Any]:
        """Return the recipe from which `load` rebuilds the model."""
        return {"suite": describe(self.suite), "merge": describe(self.merge)}
