"""The callback that scores a module whenever it is validated or tested."""

from collections.abc import Mapping
from typing import Any

import lightning as L

from wemoe_pl.training.evaluation import Evaluation, FinalEvaluation
from wemoe_pl.training.metrics import mean
from wemoe_pl.training.shown_metrics import SHOWN_METRICS, Stage


class Scoring(L.Callback):
    """Begins and ends the evaluations of a `MultiTaskModule`, and logs what they come to.

    The module, which brings it along, has its own steps add their batches.
    """

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Start to count."""
        pl_module.evaluation = Evaluation(pl_module.classifier, pl_module.device)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Log `val/acc`, and what needs no labels, each with `/<task>` behind it."""
        log_scores(pl_module, "val")

    def on_test_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Build what the test compares with, and start to count."""
        classifier = pl_module.classifier
        with pl_module.clock.timed("build"):
            place = next(classifier.parameters())
            built = pl_module.build_references().items()
            references = {name: reference.to(place) for name, reference in built}
        pl_module.evaluation = FinalEvaluation(classifier, references, pl_module.device)

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Log `test/acc`, `test/information` and `routing/<task>`, and keep all figures."""
        log_scores(pl_module, "test")
        for column, task in enumerate(pl_module.suite.experts):
            if task in pl_module.routing:
                weights = pl_module.routing[task].mean[:, column]
                pl_module.log(f"routing/{task}", weights.mean())
        pl_module.samples = pl_module.evaluation.samples
        pl_module.test_results = pl_module.evaluation.results(pl_module.own_reference)


def log_scores(module: Any, stage: Stage) -> None:
    """Keep what a `MultiTaskModule` has counted, and log every score that the stage shows."""
    module.evaluation.gather()
    module.scores, module.routing = module.evaluation.scores, module.evaluation.routing
    for metric in SHOWN_METRICS:
        if metric.score and stage in metric.stages and (values := metric.score(module.scores)):
            log_by_task(module, metric.key_in(stage), mean(values), values, bool(metric.progress))


def log_by_task(
    module: L.LightningModule,
    key: str,
    average: Any,
    values: Mapping[str, Any],
    prog_bar: bool = True,
) -> None:
    """Log a metric: its mean over tasks, and with `/<task>` behind the key that of each task."""
    module.log(key, average, prog_bar=prog_bar)
    module.log_dict({f"{key}/{task}": value for task, value in values.items()})
