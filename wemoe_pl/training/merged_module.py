"""The base of every LightningModule of a merge method, however its weights are found."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch

from wemoe_pl.data.streams import Batch
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import CheckpointError, ConfigError
from wemoe_pl.merging import NOT_ADAPTED, MergeMethod, checked_method
from wemoe_pl.model.building import build_classifier, build_classifiers
from wemoe_pl.model.classifier import MultiTaskClassifier
from wemoe_pl.model.recipe import describe, rebuild, rebuild_options
from wemoe_pl.model.task_inference import InferenceRule, Thresholds
from wemoe_pl.runs.checkpoint import IDENTITY, read_checkpoint
from wemoe_pl.training.module import MultiTaskModule
from wemoe_pl.training.references import REFERENCES


class MergedModule(MultiTaskModule):
    """A merged classifier, compared with the two ends of every table and with task arithmetic.

    Args:
        suite: the pretrained encoder, experts, heads and tasks.
        merge: the merge method.
        task: the only task that `predict` answers; by default all that have a head.
        infer_task: how `predict` finds out the one task that it answers for an image: by the
            "entropy" of heads, by "routing", or by the largest "logit" of what MASS has chosen.
        references: also score pretrained, task arithmetic and the individual experts.

    Attributes:
        thresholds: by rule and inferred task, the confidence below which `predict` answers an
            image by none of the tasks: those of the run whose checkpoint is used.
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
        self.thresholds: Thresholds = {}

    @property
    def method(self) -> str:
        """The name of the merge method, which says so if nothing of it was adapted yet."""
        built = hasattr(self, "classifier")
        unadapted = built and not self.is_adapted and bool(self.trained_parameters())
        return f"{self.merge.label}{NOT_ADAPTED}" if unadapted else self.merge.label

    @property
    def predict_tasks(self) -> Sequence[str]:
        """The task that was asked for, or all."""
        return [self.only_task] if self.only_task else self.classifier.tasks

    def on_predict_start(self) -> None:
        """Refuse a rule by which the model cannot infer the task, and take over the thresholds."""
        if self.infer_task is not None:
            self.classifier.check_rule(self.infer_task)
            self.classifier.thresholds = self.thresholds

    def build(self) -> MultiTaskClassifier:
        """The merged encoder with the suite's heads."""
        return build_classifier(self.suite, self.merge)

    @property
    def columns(self) -> dict[str, MergeMethod]:
        """The methods that this one is compared with."""
        return {key: reference.method_for(self.merge) for key, reference in REFERENCES.items()}

    @property
    def own_reference(self) -> str | None:
        """The column that this method is itself, if it is one."""
        return next((name for name, m in self.columns.items() if m == self.merge), None)

    @property
    def references(self) -> dict[str, MergeMethod]:
        """The columns of the table beside this method's own."""
        if not self.compare:
            return {}
        return {name: m for name, m in self.columns.items() if name != self.own_reference}

    def build_references(self) -> dict[str, MultiTaskClassifier]:
        """The models of `references`."""
        methods = self.references
        classifiers = build_classifiers(self.suite, list(methods.values()))
        return dict(zip(methods, classifiers, strict=True))

    def on_train_start(self) -> None:
        """From here on the model is an adapted one."""
        self.is_adapted = True

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take what an adaptation has learned."""
        self.is_adapted = True
        super().on_load_checkpoint(checkpoint)

    @property
    def options(self) -> dict[str, Any]:
        """Return the arguments, beside suite and merge method, that the module was made with."""
        return {"task": self.only_task, "infer_task": self.infer_task, "references": self.compare}

    @property
    def identity(self) -> dict[str, Any]:
        """Return the identity of the model, and the options of the module."""
        return super().identity | {"options": describe(self.options)}

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # what Lightning's has beside it is moot
        cls,
        checkpoint_path: str | Path,
        map_location: str | torch.device | None = None,
        allow: Sequence[str] = (),
        **given: Any,
    ) -> Self:
        """Make a module of this class again, with what a fit has learned.

        The pretrained encoder, the experts and the heads are read from where they were, and their
        hashes are compared; models that were in memory have to be given again, as `suite`.

        Args:
            checkpoint_path: the checkpoint of a run, or of a trainer of one's own.
            map_location: the device that the module is moved to; by default it is on the CPU.
            allow: packages of which the checkpoint may name classes, as `--allow` does.
            **given: arguments of the module that take the place of those of the checkpoint.

        Raises:
            CheckpointError: it is missing, damaged, of another module, or of other weights.
            ConfigError: it names classes of other packages.
        """
        path = Path(checkpoint_path).expanduser()
        checkpoint = read_checkpoint(path)
        recipe = checkpoint[IDENTITY]["recipe"]
        if not recipe:
            raise CheckpointError(f"{path} is of no {cls.__name__}: it has nothing merged.")
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
