"""Do the whole job in one call, `adapt`: from models and images to model, table and pictures."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.utilities.seed import seed_everything
from lightning.pytorch.utilities.seed import isolate_rng
from PIL import Image
from rich.table import Table
from torch import nn

from wemoe_pl.checkpoints import Backbone
from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.model_suite import PRETRAINED, Heads, ModelSuite
from wemoe_pl.data.suite import Suite, check_has_task
from wemoe_pl.data.tasks import InMemoryTask, VisionTask
from wemoe_pl.data.vision_data import VisionData
from wemoe_pl.errors import ConfigError, DataError, at_least, did_you_mean
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.python_job import PythonJob
from wemoe_pl.export.writing import export
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.folding import fold, folds
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.model.classifier import MultiTaskClassifier
from wemoe_pl.model.recipe import read_suite
from wemoe_pl.reporting.summary import accuracy_columns, run_tables
from wemoe_pl.runs.results_schema import measured_in
from wemoe_pl.system.console import Console
from wemoe_pl.training.adapt import TestTimeAdaptation
from wemoe_pl.training.lightning_noise import quiet_lightning


@dataclass(frozen=True)
class Adapted:
    """An `Adapted` is the outcome of `adapt`; printed, or shown in a notebook, it is its table.

    Attributes:
        model: the classifier, for `model.predict(images)` and `model(images, task)`.
        results: all figures, as `results.json` has them.
        pictures: the pictures of accuracy, adaptation, routing and confusion, by name.
        suite: the suite that was merged.
        merge: the merge method.
    """

    model: MultiTaskClassifier
    results: dict[str, Any]
    pictures: dict[str, Image.Image]
    suite: Suite
    merge: MergeMethod

    @property
    def accuracy(self) -> dict[str, dict[str, float]]:
        """Return the accuracy of the method and of its references, by name and task, 0 to 1.

        It is empty if no image has a label; the table then shows scores that need none.
        """
        columns = accuracy_columns(self.results).items() if self.results["accuracy"] else ()
        return {title: dict(values) for title, values in columns}

    @property
    def table(self) -> Table:
        """Make a rich table of the accuracy, in percent; without labels, of another score."""
        return run_tables(self.results)[0]

    def export(self, out: str | Path, form: str = "bundle") -> Path:
        """Write the model into a folder, from which `wemoe_pl.load` reads a bundle or an adapter.

        Args:
            out: the folder.
            form: the format: one of those of `wemoe-pl export`.

        Returns:
            The folder.

        Raises:
            WeMoEError: the format cannot hold the model, or the folder cannot be written to.
        """
        folder = Path(out).expanduser()
        export(as_exported(self), form, folder, say=lambda line: None)
        return folder

    def __str__(self) -> str:
        """Return the tables that a run prints."""
        console = Console(width=100)
        with console.capture() as capture:
            console.print(*run_tables(self.results), sep="\n")
        return capture.get().rstrip()

    def _repr_mimebundle_(self, *args: Any, **options: Any) -> Any:
        return self.table._repr_mimebundle_(*args, **options)


def adapt(
    models: Suite | str | Path | Mapping[str, nn.Module],
    images: Mapping[str, Any] | None = None,
    *,
    merge: MergeMethod | None = None,
    heads: Heads | None = None,
    backbone: Backbone | None = None,
    steps: int = 1000,
    batch_size: int = 16,
    test_batch_size: int = 128,
    seed: int = 0,
    out: str | Path | None = None,
    fresh: bool = False,
    progress: bool = True,
    data: Mapping[str, Any] | None = None,
    trainer: Mapping[str, Any] | None = None,
    **options: Any,
) -> Adapted:
    """Merge models, adapt the parameters that the merge method leaves trainable, and score.

    It does the job of `wemoe-pl fit`, or of `test` for a static merge, in one process. Labels are
    read only to score. The random generators of the program are restored afterwards.

    Args:
        models: a `Suite`, the path or the name of one (such as "miniature"), or timm encoders by
            task, with the encoder that they were fine-tuned from as "pretrained".
        images: the images to adapt to and to score on, by task: values that `InMemoryTask` takes,
            or tasks. For a suite, they replace its own.
        merge: the merge method; by default `WEMoE()`.
        heads: the heads of encoders, by task; by default the last layer of each expert.
        backbone: the architecture of encoders; by default it is recognised.
        steps: the number of optimiser steps.
        batch_size: the number of images per task and step.
        test_batch_size: the number of images per batch when scoring.
        seed: the seed of the routers' initial weights and of the order of the images.
        out: the folder for the files of a run: results, pictures, checkpoint. The same call goes on
            there if it was interrupted, and otherwise returns what is there. By default no files
            are left.
        fresh: True to begin anew in `out`, whatever is there.
        progress: True to draw how far the fit is, if there is a terminal.
        data: further arguments of `MultiTaskData`, such as `images_per_task` or `corruption`.
        trainer: further arguments of `L.Trainer`, such as `callbacks`, `logger`, `accelerator`.
        **options: further arguments of `TestTimeAdaptation`, such as `learning_rate`.

    Raises:
        WeMoEError: something does not fit together, or cannot be read; the message says what.
    """
    suite = suite_from(models, images, heads, backbone)
    method = WEMoE() if merge is None else merge
    at_least(1, "steps", steps)
    check_options(options)
    check_data_options(data or {})
    given = {"batch_size": batch_size, "test_batch_size": test_batch_size, **(data or {})}
    if not isinstance(method, MergeMethod):
        raise ConfigError(f"`merge` is a merge method, such as `WEMoE()`, and not {method!r}.")
    with isolate_rng(), quiet_lightning():
        seed_everything(seed, workers=True, verbose=False)
        module = TestTimeAdaptation(suite, method, **options)
        of_data = MultiTaskData(suite, seed=seed, **given)
        job = PythonJob(module, of_data, given, steps, seed, progress, trainer or {})
        results, pictures = job.run() if out is None else job.run_in(Path(out).expanduser(), fresh)
    classifier = module.classifier.cpu().eval()
    classifier.measured = measured_in(results)
    return Adapted(classifier, results, pictures, suite, method)


def check_options(options: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for an argument that neither `adapt` nor the adaptation has."""
    further = arguments_of(TestTimeAdaptation)
    known = arguments_of(adapt) | further
    others = {"trainer": arguments_of(L.Trainer), "data": arguments_of(MultiTaskData, VisionData)}
    for name in options:
        if name in further:
            continue
        places = [place for place, names in others.items() if name in names]
        hint = f"Give it as `{places[0]}={{'{name}': …}}`." if places else did_you_mean(name, known)
        raise ConfigError(f"`adapt` has no argument '{name}'. {hint}")


def check_data_options(options: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for an argument in `data` that is unknown, or is one of `adapt`'s own."""
    known = arguments_of(MultiTaskData, VisionData) - {"stream_tasks", "scored_tasks"}
    own = arguments_of(adapt) & known
    for name in options:
        if name in own:
            raise ConfigError(f"'{name}' is an argument of `adapt` itself: take it out of `data`.")
        if name not in known:
            raise ConfigError(
                f"`MultiTaskData` has no argument '{name}'. {did_you_mean(name, known - own)}"
            )


def arguments_of(*callables: Callable[..., Any]) -> set[str]:
    """Return the names of the arguments of callables, without `suite` and `**options`."""
    found = {name for of_one in callables for name in signature(of_one).parameters}
    return found - {"options", "suite"}


def as_exported(adapted: Adapted) -> ExportedModel:
    """Return a model that was just adapted in the form of exports: folded if it can be."""
    model, suite = adapted.model, adapted.suite
    learned = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
    heads = {task: model.head(task) for task in model.tasks}
    encoder = fold(model.encoder) if folds(model.encoder) else model.encoder
    folded = MultiTaskClassifier(
        encoder, heads, backbone=suite.backbone, experts=model.experts
    ).eval()
    folded.measured = model.measured
    sources = suite.sources()
    return ExportedModel(folded, suite, adapted.merge, learned, sources, adapted.results)


def suite_from(
    models: Suite | str | Path | Mapping[str, nn.Module],
    images: Mapping[str, Any] | None,
    heads: Heads | None,
    backbone: Backbone | None,
) -> Suite:
    """Make the suite from the arguments of `adapt`; see there.

    Raises:
        ConfigError: a task has no images, or there is no such task.
    """
    tasks = {task: as_task(task, given) for task, given in (images or {}).items()}
    if isinstance(models, Mapping):
        for task in models:
            if task != PRETRAINED and task not in tasks:
                raise ConfigError(f"There are no images for '{task}': give some, by `images`.")
        return with_class_names(ModelSuite.of(models, tasks, heads, backbone))
    if heads is not None or backbone is not None:
        raise ConfigError(
            "A suite has its own heads and backbone: leave out `heads` and `backbone`."
        )
    suite = models if isinstance(models, Suite) else read_suite(models)
    for task in tasks:
        check_has_task(suite, task)
    named = {task: named_as(suite.task(task), given) for task, given in tasks.items()}
    note = note_without(suite, named)
    return with_class_names(replace(suite, tasks={**suite.tasks, **named}, note=note))


def note_without(suite: Suite, given: Collection[str]) -> str:
    """Return the note of a suite, restricted to the tasks that are still its own.

    Args:
        suite: the suite before tasks were replaced.
        given: the names of the tasks that were replaced.
    """
    own = [task for task in suite.tasks if task not in given]
    if not suite.note or not given:
        return suite.note
    return f"{suite.note} This note is about {', '.join(own)}." if own else ""


def as_task(name: str, images: Any) -> VisionTask:
    """Return images as a task, which they may be already.

    Raises:
        DataError: they are neither a task nor a collection of images; the message names the task.
    """
    try:
        return images if isinstance(images, VisionTask) else InMemoryTask(images)
    except DataError as error:
        raise DataError(f"images['{name}']: {error}") from None


def named_as(own: VisionTask, given: VisionTask) -> VisionTask:
    """Return the given task with the classes and prompts of the own one, unless it has classes."""
    if not isinstance(given, InMemoryTask) or given.classes or not own.classes:
        return given
    return replace(given, class_names=own.classes, templates=own.prompts)


def with_class_names(suite: Suite) -> Suite:
    """Return a suite whose tasks in memory have the classes of their heads if they name none."""
    tasks = {
        name: replace(task, class_names=suite.load_head(name, check_classes=False).classes)
        for name, task in suite.tasks.items()
        if isinstance(task, InMemoryTask) and not task.classes
    }
    return replace(suite, tasks={**suite.tasks, **tasks})
