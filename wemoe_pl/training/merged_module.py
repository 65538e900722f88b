"""The base of every LightningModule of a merge method, however its weights are found."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from wemoe_pl.data.streams import Batch
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError
from wemoe_pl.merging import NOT_ADAPTED, MergeMethod, checked_method
from wemoe_pl.model.building import build_classifier, build_classifiers
from wemoe_pl.model.classifier import MultiTaskClassifier
from wemoe_pl.model.recipe import describe
from wemoe_pl.model.task_inference import InferenceRule
from wemoe_pl.training.module import MultiTaskModule
from wemoe_pl.training.references import REFERENCES


class MergedModule(MultiTaskModule):
    """A merged classifier, compared with the two ends of every table and with task arithmetic.

    Args:
        suite: the pretrained encoder, experts, heads and tasks.
        merge: the merge method.
        task: the only task that `predict` answers; by default all that have a head.
        infer_task: let `predict` find out the task of each image, by the "entropy" of the heads'
            answers or by the "routing" weights, and answer for that one only.
        references: also score pretrained, task arithmetic and the individual experts.
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
        self.infer_task = infer_task
        self.only_task = task
        self.compare = references
        self.is_adapted = False

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
        """Refuse a rule by which the model cannot infer the task."""
        if self.infer_task is not None:
            self.classifier.check_rule(self.infer_task)

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

    def build_references(self) -> dict[str, MultiTaskClassifier]:
        """The columns of the table beside this method's own."""
        if not self.compare:
            return {}
        methods = {name: m for name, m in self.columns.items() if name != self.own_reference}
        classifiers = build_classifiers(self.suite, list(methods.values()))
        return dict(zip(methods, classifiers, strict=True))

    def on_train_start(self) -> None:
        """From here on the model is an adapted one."""
        self.is_adapted = True

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take what an adaptation has learned."""
        self.is_adapted = True
        super().on_load_checkpoint(checkpoint)

    @abstractmethod
    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        """Learn from one batch of every task."""

    @property
    def recipe(self) -> dict[str, Any]:
        """Return the recipe from which `load` rebuilds the model."""
        return {"suite": describe(self.suite), "merge": describe(self.merge)}
