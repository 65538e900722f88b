"""Show a run in Weights & Biases, and its pictures in TensorBoard as well."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning as L
import wandb
from lightning.pytorch.trainer.states import TrainerFn

from wemoe_pl.callbacks.collapse_guard import CollapseGuard
from wemoe_pl.callbacks.lookup import callbacks_of
from wemoe_pl.data.vision_data import VisionData
from wemoe_pl.reporting.analysis import ROUTING_COLUMNS, routing_rows
from wemoe_pl.reporting.media import Captions, ShownImages, media_loggers, show
from wemoe_pl.reporting.panels import (
    FIGURES_PANEL,
    ROUTING_PANEL,
    SAMPLES_PANEL,
    define_metrics,
    figures_by_task,
    log_groups,
)
from wemoe_pl.reporting.plots.analyses import plot_routing
from wemoe_pl.reporting.summary import accuracy_columns
from wemoe_pl.reporting.wandb_run import WandbRun, one_line
from wemoe_pl.reporting.without_labels import scored_tasks
from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.training.evaluation import Sample
from wemoe_pl.training.metrics import normalized_mean
from wemoe_pl.training.module import MultiTaskModule

SHOWN_EXPERTS = 3  # experts of the largest routing weights in the caption of an image


class Dashboard(L.Callback):
    """A `Dashboard` adds media, tables and alerts to what Lightning logs; metrics do not need it.

    It works with every logger: Weights & Biases shows all of it, TensorBoard the pictures.

    Args:
        routing_maps: True to draw each task's routing weights in each block at every validation.
    """

    def __init__(self, routing_maps: bool = True):
        self.routing_maps = routing_maps
        self.run_id: str | None = None
        self._alerted: set[str] = set()

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Tell W&B the axis and the summary of every metric."""
        if not isinstance(pl_module, MultiTaskModule):
            return
        for logger in wandb_runs(trainer):
            logger.attempt(partial(define_metrics, logger, list(pl_module.suite.tasks)))
            self.run_id = logger.experiment.id

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the current routing weights of each task."""
        fitting = trainer.state.fn == TrainerFn.FITTING and trainer.is_global_zero
        if not (fitting and self.routing_maps and media_loggers(trainer.loggers)):
            return
        if not isinstance(pl_module, MultiTaskModule):
            return
        experts, title = list(pl_module.suite.experts), f"step {trainer.global_step}"
        weights = {task: routing.mean.cpu() for task, routing in pl_module.routing.items()}
        blocks = pl_module.classifier.routed_names
        with TemporaryDirectory() as folder:
            path, start = Path(folder) / "routing.png", pl_module.initial_routing_weight
            for task, mean in weights.items():
                plot_routing(path, {task: mean}, experts, title, start, blocks)
                show_everywhere(trainer, f"routing_map/{task}", [path])
            if weights and (loggers := wandb_runs(trainer)):
                plot_routing(path, weights, experts, title, start, blocks)
                for logger in loggers:
                    show(logger, ROUTING_PANEL, [path], trainer.global_step, None)

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Send an alert for every task whose collapse the guard has found."""
        guards = callbacks_of(trainer, CollapseGuard)
        for task, step in (item for guard in guards for item in guard.collapsed.items()):
            if task not in self._alerted:
                self._alerted.add(task)
                text = f"The predictions for '{task}' are collapsing at step {step}."
                alert(trainer, "Collapse", text)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Send an alert that says why the run ended."""
        if isinstance(exception, Exception):
            alert(trainer, type(exception).__name__, one_line(exception))

    def finish(
        self,
        trainer: L.Trainer,
        module: MultiTaskModule,
        results: Mapping[str, Any],
        pictures: Sequence[Path],
        curves: Mapping[str, Mapping[int, float]],
    ) -> None:
        """Show the results of a scored run.

        Args:
            trainer: the trainer, whose loggers are written to.
            module: the module that was scored.
            results: the contents of `results.json`.
            pictures: the files of the figures that the run has left.
            curves: the logged values by metric and step; the normalized mean is made of them.
        """
        for path in pictures:
            show_everywhere(trainer, f"media/{path.stem}", [path])
        self.show_samples(trainer, module.samples)
        normalized = normalized_curve(curves, results["reference"].get("individual", {}))
        for logger in wandb_runs(trainer):
            for at, value in normalized.items():  # Lightning logs a value after n steps at n - 1
                logger.log_metrics({"val/normalized_mean": value}, at - 1)
            tasks, step = list(module.suite.tasks), trainer.global_step
            logger.attempt(partial(log_groups, logger, curves, tasks, step))
            logger.attempt(partial(show_report, logger, module, results, trainer))

    def show_samples(self, trainer: L.Trainer, samples: Mapping[str, Sequence[Sample]]) -> None:
        """Show some images of every task with the model's predictions."""
        data: VisionData = trainer.datamodule  # type: ignore[attr-defined]
        together: list[Any] = []
        captions: list[str] = []
        for task, those in samples.items():
            images = [data.preprocessing.picture(sample.image) for sample in those]
            said = list(map(caption, those))
            show_everywhere(trainer, f"samples/{task}", images, said)
            together += images
            captions += [f"{task}: {text}" for text in said]
        for logger in wandb_runs(trainer) if together else ():
            show(logger, SAMPLES_PANEL, together, trainer.global_step, captions)

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a resumed run needs."""
        return {"run_id": self.run_id, "alerted": sorted(self._alerted)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load the state of the interrupted run: the tasks that alerts were sent for."""
        self._alerted = set(state_dict["alerted"])


def resumed_run(checkpoint: Mapping[str, Any]) -> str | None:
    """Return the id of the W&B run that a checkpoint belongs to; None if there is none."""
    return checkpoint.get("callbacks", {}).get(Dashboard.__name__, {}).get("run_id")


def show_report(
    logger: WandbRun, module: MultiTaskModule, results: Mapping[str, Any], trainer: L.Trainer
) -> None:
    """Log tables, the means for the list of runs, and the routers, to Weights & Biases alone."""
    run, step = logger.experiment, trainer.global_step
    columns, rows = accuracy_by_task(results)
    logger.log_table("report/accuracy", columns, rows, step=step)
    figures, lines = figures_by_task(results)
    logger.log_table(FIGURES_PANEL, figures, lines, step=step)
    if module.routing:
        experts, blocks = list(module.suite.experts), module.classifier.routed_names
        weights = [list(line) for line in routing_rows(module.routing, experts, blocks)]
        logger.log_table("report/routing", list(ROUTING_COLUMNS), weights, step=step)
    run.summary["report/mean"] = results["mean"]
    run.summary["report/normalized_mean"] = results["normalized_mean"]
    about = facts(results, module)
    run.config.update({"run": about}, allow_val_change=True)
    checkpoint = RunFolder(Path(trainer.default_root_dir)).last_checkpoint
    if checkpoint.is_file():
        artifact = wandb.Artifact(f"routers-{run.id}", type="routers", metadata=about)
        artifact.add_file(str(checkpoint))
        declare_sources(run, results["sources"])
        run.log_artifact(artifact, aliases=["latest"])


def declare_sources(run: Any, sources: Mapping[str, Mapping[str, str]]) -> None:
    """Declare the pretrained model, experts and heads of the routers as inputs of the run.

    The files are named with their hashes, not sent. Offline, where W&B keeps no lineage, only the
    artifact's metadata names them.
    """
    if run.offline:
        return
    for part, source in sources.items():
        name = re.sub(r"[^\w.-]", "-", f"{part}-{source['sha256'][:12]}")
        run.use_artifact(wandb.Artifact(name, type="frozen", metadata=dict(source)))


def facts(results: Mapping[str, Any], module: MultiTaskModule) -> dict[str, Any]:
    """Return the facts of the run: sources with hashes, versions, revision and sizes."""
    named = [
        "command", "partial", "sources", "versions", "revision", "parameters", "seed", "seconds",
    ]  # fmt: skip
    dictionaries = (mixture.task_vectors.nbytes for mixture in module.classifier.mixtures)
    known = {name: results[name] for name in named if name in results}
    return known | {"dictionary_bytes": sum(dictionaries)}


def accuracy_by_task(results: Mapping[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """Return the columns and a row per task: accuracies (0 to 1) of references and this method."""
    columns = accuracy_columns(results)
    rows = [[task, *(c.get(task) for c in columns.values())] for task in scored_tasks(results)]
    return ["task", *columns], rows


def normalized_curve(
    curves: Mapping[str, Mapping[int, float]], individual: Mapping[str, float]
) -> dict[int, float]:
    """Return the normalized mean at every validation, given the experts' accuracy by task.

    >>> normalized_curve({"val/acc/mnist": {5: 0.45, 9: 0.9}}, {"mnist": 0.9})
    {5: 0.5, 9: 1.0}
    """
    by_step: dict[int, dict[str, float]] = {}
    for task in individual:
        for step, value in curves.get(f"val/acc/{task}", {}).items():
            by_step.setdefault(step, {})[task] = value
    means = {step: normalized_mean(accuracy, individual) for step, accuracy in by_step.items()}
    return {step: value for step, value in sorted(means.items()) if value is not None}


def show_everywhere(
    trainer: L.Trainer, key: str, images: ShownImages, captions: Captions = None
) -> None:
    """Show pictures in every logger that can show them."""
    for logger in media_loggers(trainer.loggers):
        show(logger, key, images, trainer.global_step, captions)


def alert(trainer: L.Trainer, title: str, text: str) -> None:
    """Make Weights & Biases send a message to the owner of the run."""
    for logger in wandb_runs(trainer):
        logger.attempt(partial(logger.experiment.alert, title=title, text=text))


def wandb_runs(trainer: L.Trainer) -> list[WandbRun]:
    """Return the trainer's runs of Weights & Biases; [] in all processes but the first."""
    runs = [logger for logger in trainer.loggers if isinstance(logger, WandbRun)]
    return runs if trainer.is_global_zero else []


def caption(sample: Sample) -> str:
    """Return the caption of an image: the model's prediction, and the routing weights.

    >>> caption(Sample(torch.zeros(3, 1, 1), "cat", "dog", 0.61, {"pets": 0.4, "cars": 0.1}))
    'dog (61 %), is cat; pets 0.40, cars 0.10'
    """
    answer = f"{sample.predicted_class} ({100 * sample.probability:.0f} %)"
    truth = "" if sample.label in (None, sample.predicted_class) else f", is {sample.label}"
    strongest = sorted(sample.routing.items(), key=lambda item: -item[1])[:SHOWN_EXPERTS]
    routing = ", ".join(f"{expert} {weight:.2f}" for expert, weight in strongest)
    return f"{answer}{truth}; {routing}" if routing else f"{answer}{truth}"
