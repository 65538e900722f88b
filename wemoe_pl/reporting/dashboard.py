"""The dashboard: what a run shows in Weights & Biases, and in TensorBoard as far as it can."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning as L
import numpy as np
import wandb
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from PIL import Image

from wemoe_pl.callbacks.collapse_guard import CollapseGuard
from wemoe_pl.callbacks.siblings import callbacks_of
from wemoe_pl.data.datamodule import VisionData
from wemoe_pl.data.preprocessing import Pixels
from wemoe_pl.reporting.analysis import ROUTING_COLUMNS, routing_rows
from wemoe_pl.reporting.loggers import WandbRun, one_line
from wemoe_pl.reporting.plots.analyses import plot_routing
from wemoe_pl.reporting.summary import accuracy_columns
from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.training.metrics import normalized_mean
from wemoe_pl.training.module import Sample, ScoredModule

STEP = "trainer/global_step"  # the axis that Lightning's logger gives every metric
# Of curves of which the least value is the best; of the others it is the largest.
LEAST = ("entropy", "loss", "gradient_norm", "learning_rate")
SHOWN_EXPERTS = 3  # of the largest routing weights, below an image


class Dashboard(L.Callback):
    """Adds media, tables and alerts to what Lightning logs; the metrics need no dashboard.

    Works with every logger: Weights & Biases shows all of it, TensorBoard the pictures.

    Args:
        routing_maps: show at every validation where each block sends the images of each task?
    """

    def __init__(self, routing_maps: bool = True):
        self.routing_maps = routing_maps
        self.run_id: str | None = None
        self._alerted: set[str] = set()

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Give every metric its axis and its summary."""
        if not isinstance(pl_module, ScoredModule):
            return
        for logger in wandb_runs(trainer):
            logger.attempt(partial(define_metrics, logger, [*metric_names(pl_module)]))
            self.run_id = logger.experiment.id

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show how each task is routed now."""
        fitting = trainer.state.fn == TrainerFn.FITTING and trainer.is_global_zero
        if not (fitting and self.routing_maps and media_loggers(trainer.loggers)):
            return
        if not isinstance(pl_module, ScoredModule):
            return
        experts = list(pl_module.suite.experts)
        with TemporaryDirectory() as folder:
            for task, routing in pl_module.routing.items():
                path = Path(folder) / f"{task}.png"
                weights = {task: routing.mean.cpu()}
                plot_routing(path, weights, experts, f"step {trainer.global_step}")
                show(trainer.loggers, f"routing_map/{task}", [path], trainer.global_step)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Pass on what the guard against collapse has found."""
        guards = callbacks_of(trainer, CollapseGuard)
        for task, step in (item for guard in guards for item in guard.collapsed.items()):
            if task not in self._alerted:
                self._alerted.add(task)
                text = f"The predictions for '{task}' are collapsing at step {step}."
                alert(trainer, "Collapse", text)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Say why the run ended."""
        if isinstance(exception, Exception):
            alert(trainer, type(exception).__name__, one_line(exception))

    def finish(
        self,
        trainer: L.Trainer,
        module: ScoredModule,
        results: Mapping[str, Any],
        pictures: Sequence[Path],
        curves: Mapping[str, Mapping[int, float]],
    ) -> None:
        """Show what a scored run comes to.

        Args:
            trainer: whose loggers are written to.
            module: what was scored.
            results: of `results.json`.
            pictures: that the run has left.
            curves: by metric and step, from which the normalized mean follows.
        """
        step = trainer.global_step
        for path in pictures:
            show(trainer.loggers, f"media/{path.stem}", [path], step)
        for task, samples in module.samples.items():
            images = [picture(trainer, sample) for sample in samples]
            captions = [caption(sample) for sample in samples]
            show(trainer.loggers, f"samples/{task}", images, step, captions)
        individual = results["reference"].get("individual", {})
        normalized = normalized_curve(curves, individual)
        for logger in wandb_runs(trainer):
            for at, value in normalized.items():  # Lightning logs what follows n steps at n - 1
                logger.log_metrics({"val/normalized_mean": value}, at - 1)
            logger.attempt(partial(tell, logger, module, results, trainer))

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run goes on with."""
        return {"run_id": self.run_id, "alerted": sorted(self._alerted)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where the interrupted run was."""
        self._alerted = set(state_dict["alerted"])


def resumed_run(checkpoint: Mapping[str, Any]) -> str | None:
    """The W&B run that a checkpoint is of, if it is of one."""
    states = checkpoint.get("callbacks", {})
    return states.get(Dashboard.__name__, {}).get("run_id")


def metric_names(module: ScoredModule) -> Iterator[str]:
    """All metrics that a run of this module may log."""
    yield from (f"train/{name}" for name in ("learning_rate", "gradient_norm", "images_per_second"))
    yield "val/normalized_mean"
    tasks = list(module.suite.tasks)
    yield from (f"routing/{task}" for task in tasks)
    for stage, names in {
        "train": ("entropy", "loss", "diversity"),
        "val": ("acc", "information", "diversity"),
        "test": ("acc", "information", "diversity"),
    }.items():
        for name in names:
            yield f"{stage}/{name}"
            yield from (f"{stage}/{name}/{task}" for task in tasks)


def tell(
    logger: WandbRun, module: ScoredModule, results: Mapping[str, Any], trainer: L.Trainer
) -> None:
    """Tables, figures for the list of runs, and the routers, to Weights & Biases alone."""
    run, step = logger.experiment, trainer.global_step
    columns, rows = accuracy_rows(results)
    logger.log_table("report/accuracy", columns, rows, step=step)
    if module.routing:
        lines = [list(line) for line in routing_rows(module.routing, list(module.suite.experts))]
        logger.log_table("report/routing", list(ROUTING_COLUMNS), lines, step=step)
    run.summary["report/mean"] = results["mean"]
    run.summary["report/normalized_mean"] = results["normalized_mean"]
    told = facts(results, module)
    run.config.update({"run": told}, allow_val_change=True)
    checkpoint = RunFolder(Path(trainer.default_root_dir)).last_checkpoint
    if checkpoint.is_file():
        artifact = wandb.Artifact(f"routers-{run.id}", type="routers", metadata=told)
        artifact.add_file(str(checkpoint))
        declare_sources(run, results["sources"])
        run.log_artifact(artifact, aliases=["latest"])


def declare_sources(run: Any, sources: Mapping[str, Mapping[str, str]]) -> None:
    """Say which base, experts and heads the routers belong to, as inputs of the run.

    The files are named with their hashes, not sent. Offline, where W&B keeps no lineage, the
    artifact's metadata alone says so.
    """
    if run.offline:
        return
    for part, source in sources.items():
        name = re.sub(r"[^\w.-]", "-", f"{part}-{source['sha256'][:12]}")
        run.use_artifact(wandb.Artifact(name, type="frozen", metadata=dict(source)))


def facts(results: Mapping[str, Any], module: ScoredModule) -> dict[str, Any]:
    """What exactly was run: sources with hashes, versions, revision and sizes."""
    named = (
        "command",
        "partial",
        "sources",
        "versions",
        "revision",
        "parameters",
        "seed",
        "seconds",
    )
    dictionaries = (mixture.task_vectors.nbytes for mixture in module.classifier.mixtures)
    told = {name: results[name] for name in named if name in results}
    return told | {"dictionary_bytes": sum(dictionaries)}


def accuracy_rows(results: Mapping[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """A row per task: accuracies (0 to 1) of the references and of this method."""
    columns = accuracy_columns(results)
    rows = [[task, *(c.get(task) for c in columns.values())] for task in results["tasks"]]
    return ["task", *columns], rows


def normalized_curve(
    curves: Mapping[str, Mapping[int, float]], individual: Mapping[str, float]
) -> dict[int, float]:
    """The normalized mean at every validation, once the experts' accuracy is known.

    >>> normalized_curve({"val/acc/mnist": {5: 0.45, 9: 0.9}}, {"mnist": 0.9})
    {5: 0.5, 9: 1.0}
    """
    by_step: dict[int, dict[str, float]] = {}
    for task in individual:
        for step, value in curves.get(f"val/acc/{task}", {}).items():
            by_step.setdefault(step, {})[task] = value
    means = {step: normalized_mean(accuracy, individual) for step, accuracy in by_step.items()}
    return {step: value for step, value in sorted(means.items()) if value is not None}


def show(
    loggers: Iterable[Logger],
    key: str,
    images: Sequence[Path | Pixels],
    step: int,
    captions: Sequence[str] | None = None,
) -> None:
    """Give pictures to every logger that can show them."""
    for logger in media_loggers(loggers):
        if isinstance(logger, WandbRun):
            captioned = {} if captions is None else {"caption": captions}
            paths = [str(image) if isinstance(image, Path) else image for image in images]
            logger.log_image(key, paths, step=step, **captioned)
        elif isinstance(logger, TensorBoardLogger):
            for place, image in enumerate(images):
                pixels = pixels_of(image) if isinstance(image, Path) else image
                tag = key if captions is None else f"{key}/{captions[place]}"
                logger.experiment.add_image(tag, pixels, step, dataformats="HWC")


def pixels_of(path: Path) -> Pixels:
    """A picture in a file, (H, W, 3)."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def alert(trainer: L.Trainer, title: str, text: str) -> None:
    """Let Weights & Biases send a message to whoever owns the run."""
    for logger in wandb_runs(trainer):
        logger.attempt(partial(logger.experiment.alert, title=title, text=text))


def wandb_runs(trainer: L.Trainer) -> list[WandbRun]:
    """The trainer's runs of Weights & Biases; none but in the process that writes."""
    runs = [logger for logger in trainer.loggers if isinstance(logger, WandbRun)]
    return runs if trainer.is_global_zero else []


def define_metrics(logger: WandbRun, names: Iterable[str]) -> None:
    """Give every metric its axis, and its last and best value in the summary.

    One by one: of two patterns that overlap W&B picks one at random.
    """
    for name in names:
        best = "min" if name.split("/")[1] in LEAST else "max"
        logger.experiment.define_metric(name, step_metric=STEP, summary=f"last,{best}")


def caption(sample: Sample) -> str:
    """What the model says of an image, and how it routed it.

    >>> caption(Sample(torch.zeros(3, 1, 1), "cat", "dog", 0.61, {"pets": 0.4, "cars": 0.1}))
    'dog (61 %), is cat; pets 0.40, cars 0.10'
    """
    told = f"{sample.predicted_class} ({100 * sample.probability:.0f} %)"
    truth = "" if sample.label in (None, sample.predicted_class) else f", is {sample.label}"
    strongest = sorted(sample.routing.items(), key=lambda item: -item[1])[:SHOWN_EXPERTS]
    routing = ", ".join(f"{expert} {weight:.2f}" for expert, weight in strongest)
    return f"{told}{truth}; {routing}" if routing else f"{told}{truth}"


def picture(trainer: L.Trainer, sample: Sample) -> Pixels:
    """The image of a sample for eyes, (H, W, 3)."""
    data: VisionData = trainer.datamodule  # type: ignore[attr-defined]
    return data.preprocessing.picture(sample.image)


def media_loggers(loggers: Iterable[Logger]) -> list[Logger]:
    """Those that can show pictures, and still work."""
    return [
        logger
        for logger in loggers
        if isinstance(logger, TensorBoardLogger)
        or (isinstance(logger, WandbRun) and not logger.failed)
    ]
