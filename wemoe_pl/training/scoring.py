"""Score a module whenever it is validated or tested, by a callback."""

from collections.abc import Mapping
from typing import Any, Protocol

import lightning as L
import torch

from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.model.classifier import MultiTaskClassifier
from wemoe_pl.training.clock import StageClock
from wemoe_pl.training.evaluation import Evaluation, FinalEvaluation, Sample
from wemoe_pl.training.experts import ExpertAnswers, origins_of
from wemoe_pl.training.lightning_noise import in_one_column
from wemoe_pl.training.metrics import TaskScores, mean
from wemoe_pl.training.references import EXPERTS
from wemoe_pl.training.routing import TaskRouting
from wemoe_pl.training.shown_metrics import SHOWN_METRICS, Stage


class Logs(Protocol):
    """`Logs` is the part of a LightningModule that logs."""

    def log(self, name: str, value: Any, prog_bar: bool = False) -> None:
        """Log a value."""

    def log_dict(self, dictionary: Mapping[str, Any]) -> None:
        """Log several values."""


class Scored(Logs, Protocol):
    """`Scored` is the part of a `MultiTaskModule` that scoring reads and sets; see there."""

    suite: Suite
    classifier: MultiTaskClassifier
    clock: StageClock
    evaluation: Evaluation
    scores: TaskScores
    routing: dict[str, TaskRouting]
    samples: dict[str, list[Sample]]
    test_results: dict[str, Any]

    @property
    def device(self) -> torch.device:
        """Return the device of the classifier."""

    @property
    def own_reference(self) -> str | None:
        """Return the reference that equals the method; None if there is none."""

    def build_references(self) -> dict[str, MultiTaskClassifier]:
        """Build the models that the test compares with, by the name of their column."""

    @property
    def references(self) -> Mapping[str, MergeMethod]:
        """Return the methods that the test compares with, by the name of their column."""


class Scoring(L.Callback):
    """The callback begins and ends the evaluations of a `MultiTaskModule`, and logs their scores.

    The module adds the callback to the trainer, and its own steps count the batches.

    Attributes:
        asks_experts: True if validations are compared with the experts' answers, which are computed
            once per image.
    """

    final: FinalEvaluation  # the evaluation of the current test

    def __init__(self) -> None:
        self.asks_experts = False
        self._experts: ExpertAnswers | None = None

    def teardown(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:
        """Free the experts' answers, which are for the images of one fit."""
        self._experts = None

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Start an evaluation."""
        module: Scored = pl_module
        if self._experts is None and self.asks_experts and EXPERTS in module.references:
            place = next(module.classifier.parameters())
            self._experts = ExpertAnswers(module.suite, place, origins_of(trainer))
        module.evaluation = Evaluation(module.classifier, module.device, self._experts)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Log `val/acc` and the scores that need no labels, each also per task (`…/<task>`)."""
        log_scores(pl_module, "val")
        in_one_column(trainer)

    def on_test_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Build the references that the test compares with, and start an evaluation."""
        module: Scored = pl_module
        with module.clock.timed("build"):
            place = next(module.classifier.parameters())
            built = module.build_references().items()
            references = {name: reference.to(place) for name, reference in built}
        self.final = FinalEvaluation(module.classifier, references, module.device)
        module.evaluation = self.final

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Log the scores of the test and `routing/<task>`, and keep all figures."""
        module: Scored = pl_module
        log_scores(module, "test")
        in_one_column(trainer)
        for column, task in enumerate(module.suite.experts):
            if task in module.routing:
                weights = module.routing[task].mean[:, column]
                module.log(f"routing/{task}", weights.mean())
        module.samples = self.final.samples
        module.test_results = self.final.results(module.own_reference)


def check_asks_experts(module: Scored, key: str) -> None:
    """Raise `ConfigError` if `key` is agreement, but the model is not compared with the experts.

    A module whose method is the experts themselves passes, since they agree with themselves.
    """
    if EXPERTS not in (*module.references, module.own_reference):
        raise ConfigError(
            f"{key} is agreement, but the job does not compare its model with the experts: set "
            f"model.references to true, or {key} to information."
        )


def log_scores(module: Scored, stage: Stage) -> None:
    """Gather and keep what a `MultiTaskModule` has counted, and log the scores of the stage."""
    module.evaluation.gather()
    module.scores, module.routing = module.evaluation.scores, module.evaluation.routing
    for metric in SHOWN_METRICS:
        if metric.score and stage in metric.stages and (values := metric.score(module.scores)):
            log_by_task(module, metric.key_in(stage), mean(values), values, bool(metric.progress))


def log_by_task(
    module: Logs,
    key: str,
    average: Any,
    values: Mapping[str, Any],
    prog_bar: bool = True,
) -> None:
    """Log the mean of a metric over tasks under `key`, and that of each task under `key/<task>`."""
    module.log(key, average, prog_bar=prog_bar)
    module.log_dict({f"{key}/{task}": value for task, value in values.items()})
