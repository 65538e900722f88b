"""Measure three ways to run the merged model of a run: latency, memory and accuracy of each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wemoe_pl.bench.subjects import BenchRow, Settings
from wemoe_pl.errors import ConfigError
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.loading import open_model
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.iso import IsoCTS
from wemoe_pl.merging.spelling import spelled
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.tsv import TSVM
from wemoe_pl.model.building import build_classifiers
from wemoe_pl.model.classifier import MultiTaskClassifier
from wemoe_pl.moe.kernels.timing import interleaved

# Static merges that need no images and differ in strength; the last is timed as the plain model.
STATIC: tuple[MergeMethod, ...] = (IsoCTS(), TSVM(), TaskArithmetic())
SCORED_AT_ONCE = 64  # images in a batch when accuracy is measured


@dataclass(frozen=True)
class Way:
    """A `Way` is one way to run a merged model.

    Args:
        name: the name of the way in the table.
        models: the models that are held in memory.
        alone: the function that returns logits (B, C) for images (B, 3, H, W) of a task.
        mixed: the function that returns the logits by task for images of several tasks, by task.
        is_static: True if the model is a static merge.
    """

    name: str
    models: Sequence[nn.Module]
    alone: Callable[[Tensor, str], Tensor]
    mixed: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
    is_static: bool = False

    @property
    def nbytes(self) -> int:
        """Return the number of bytes of all weights that are held in memory."""
        weights = [w for model in self.models for w in (*model.parameters(), *model.buffers())]
        return sum(weight.nbytes for weight in {id(w): w for w in weights}.values())


class LabelledImages(NamedTuple):
    """`LabelledImages` are some prepared images of a task.

    Attributes:
        images: the images, (n, 3, H, W).
        labels: the labels, (n,).
    """

    images: Tensor
    labels: Tensor


def serve(settings: Settings) -> Iterator[BenchRow]:
    """Yield a row for each way to run a model and each number of samples.

    Raises:
        ConfigError: the model of the run is the same for all images.
        WeMoEError: the model or its test images cannot be read, or it cannot be specialised.
    """
    assert settings.run is not None
    model = open_model(settings.run)
    if not model.classifier.routed:
        raise ConfigError(
            f"{spelled(model.merge.label)} gives one model for all images, so there are no ways to "
            "choose from: give the run of a model that has routers by --run."
        )
    images = {task: some_images(model, task, settings) for task in model.classifier.tasks}
    ways = ways_to_run(model, settings)
    accuracy = {way.name: accuracy_of(way, images) for way in ways}
    for samples in settings.samples:
        yield from timed_ways(ways, accuracy, images, samples, settings)


def some_images(model: ExportedModel, task: str, settings: Settings) -> LabelledImages:
    """Return a random choice of a task's test images, always the same one."""
    images = model.suite.task(task).images("test")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    chosen = [images[index] for index in order[: settings.images].tolist()]
    prepared = torch.stack([model.preprocessing(image) for image, _ in chosen])
    labels = torch.tensor([label for _, label in chosen], device=settings.device)
    return LabelledImages(prepared.to(settings.device, settings.dtype), labels)


def ways_to_run(model: ExportedModel, settings: Settings) -> list[Way]:
    """Return the ways to run a model: routed, specialised for every task, and static merges."""
    classifier = model.classifier
    settings.place(classifier)
    merged = build_classifiers(model.suite, STATIC, check_classes=False)
    for static in merged:
        settings.place(static.eval())
    return [
        one_model("routed", classifier),
        task_known(classifier),
        *(
            one_model(f"static {spelled(method.label)}", static, is_static=True)
            for method, static in zip(STATIC, merged, strict=True)
        ),
    ]


def one_model(name: str, model: MultiTaskClassifier, is_static: bool = False) -> Way:
    """Return the way that runs all images through one model."""
    return Way(name, [model], model.forward, model.forward_tasks, is_static)


def task_known(model: MultiTaskClassifier) -> Way:
    """Return the way that has a plain model for every task, and is told the task."""
    plain = {task: model.specialise(task) for task in model.tasks}

    def alone(images: Tensor, task: str) -> Tensor:
        logits: Tensor = plain[task](images)
        return logits

    def mixed(images: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return {task: plain[task](batch) for task, batch in images.items()}

    return Way("task known", [*plain.values()], alone, mixed)


@torch.inference_mode()
def accuracy_of(way: Way, images: Mapping[str, LabelledImages]) -> dict[str, float]:
    """Return the share of right answers of each task, if a model is told the task."""
    found = {}
    for task, (inputs, labels) in images.items():
        logits = torch.cat([way.alone(batch, task) for batch in inputs.split(SCORED_AT_ONCE)])
        found[task] = (logits.argmax(dim=-1) == labels).double().mean().item()
    return found


def timed_ways(
    ways: Sequence[Way],
    accuracy: Mapping[str, Mapping[str, float]],
    images: Mapping[str, LabelledImages],
    samples: int,
    settings: Settings,
) -> Iterator[BenchRow]:
    """Yield a row for each way: times of a batch, weights, accuracy, and what a task loses.

    Ratios are to the last way, which is a plain encoder. Losses are to the first.
    """
    task = next(iter(images))
    one, several = of_one_task(images[task].images, samples), of_all_tasks(images, samples)
    batches: dict[str, dict[str, Callable[[], object]]] = {
        "alone": {way.name: partial(way.alone, one, task) for way in ways},
        "mixed": {way.name: partial(way.mixed, several) for way in ways},
    }
    with torch.inference_mode():
        seconds = {
            what: interleaved(runs, settings.repeats, settings.device)
            for what, runs in batches.items()
        }
    means = {name: fmean(scores.values()) for name, scores in accuracy.items()}
    best = max((way.name for way in ways if way.is_static), key=means.__getitem__)
    first, last = ways[0].name, ways[-1].name
    for way in ways:
        row: BenchRow = {"way": way.name, "samples": samples}
        for what, of_ways in seconds.items():
            row |= {what: of_ways[way.name], f"{what} ×": of_ways[way.name] / of_ways[last]}
        lost = [100 * (accuracy[way.name][t] - accuracy[first][t]) for t in images]
        scores = {"accuracy": 100 * means[way.name], "worst": min(lost)}
        yield row | {"model": way.nbytes} | scores | {"best": way.name == best}


def of_one_task(images: Tensor, samples: int) -> Tensor:
    """Return a batch of as many samples, in which images come again if there are too few."""
    return images[torch.arange(samples, device=images.device) % len(images)]


def of_all_tasks(images: Mapping[str, LabelledImages], samples: int) -> dict[str, Tensor]:
    """Return a batch of as many samples, shared evenly by the tasks, from the first on."""
    each, left = divmod(samples, len(images))
    sizes = {task: each + (place < left) for place, task in enumerate(images)}
    return {task: of_one_task(images[task].images, n) for task, n in sizes.items() if n}
