"""Run the paper's analyses (§5): each writes a table as CSV, and figures of it."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wemoe_pl.checkpoints import Backbone, State
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import UNLABELLED
from wemoe_pl.data.vision_data import VisionData
from wemoe_pl.errors import ConfigError, DataError
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.moe.task_vectors import add_task_vectors, lazy_task_vector, state_of
from wemoe_pl.reporting.plots.analyses import (
    plot_landscape,
    plot_parameters,
    plot_routing,
    plot_routing_share,
    plot_similarity,
)
from wemoe_pl.reporting.plots.style import FloatArray
from wemoe_pl.reporting.results import parameter_counts
from wemoe_pl.system.console import progress
from wemoe_pl.system.files import atomic_rewrite
from wemoe_pl.system.spreadsheets import csv_cells
from wemoe_pl.training.routing import TaskRouting

SPAN = (-0.5, 1.5)  # the range of both coefficients of a landscape
BATCH = 64
ROUTING_FILE = "routing.csv"
ROUTING_COLUMNS = ("task", "block", "expert", "mean_weight", "largest_share")


def write_routing(
    out: Path,
    routing: Mapping[str, TaskRouting],
    experts: Sequence[str],
    title: str,
    start: float | None = None,
    blocks: Sequence[str] = (),
) -> list[Path]:
    """Write and draw where each block sends the samples of each task.

    Args:
        out: the folder of `routing.csv`, `routing.png` and `routing_share.png`.
        routing: the routing weights of each task's samples.
        experts: the experts' names, in the order of the routing weights.
        title: the title of the figures.
        start: the routing weight that adaptation began with, if all began with the same.
        blocks: the names of the blocks, in the order of the routing weights; by default numbers.
    """
    rows = routing_rows(routing, experts, blocks)
    written = [write_rows(out / ROUTING_FILE, ROUTING_COLUMNS, rows), out / "routing.png"]
    means = {task: statistics.mean.cpu() for task, statistics in routing.items()}
    plot_routing(out / "routing.png", means, experts, title, start, blocks)
    own = {t: routing[t].largest[:, i].tolist() for i, t in enumerate(experts) if t in routing}
    if own:  # otherwise only images of unseen tasks were routed
        about = f"{title}\nhow often the task's own expert has the largest routing weight"
        plot_routing_share(out / "routing_share.png", own, about, blocks)
        written.append(out / "routing_share.png")
    return written


def routing_rows(
    routing: Mapping[str, TaskRouting], experts: Sequence[str], blocks: Sequence[str] = ()
) -> Iterator[tuple[str, str, str, float, float]]:
    """Yield the values of `ROUTING_COLUMNS`, one line per task, block and expert."""
    for task, weights in routing.items():
        for row, block in enumerate(blocks or map(str, range(len(weights.mean)))):
            for i, expert in enumerate(experts):
                pair = weights.mean[row, i].item(), weights.largest[row, i].item()
                yield task, block, expert, *pair


def write_similarity(suite: Suite, out: Path) -> list[Path]:
    """Write and draw how near all pairs of task vectors are, by layer and as a whole.

    For each tensor, the task vectors of all experts are in memory at once.

    Args:
        suite: the suite of the experts that are compared.
        out: the folder of `similarity.csv` and `similarity.png`.

    Raises:
        ConfigError: there are fewer than two experts.
    """
    experts = list(suite.experts)
    if len(experts) < 2:
        raise ConfigError(f"Similarity needs two experts, but '{suite.name}' has {len(experts)}.")
    grams = gram_matrices(suite.open_pretrained(), list(suite.load_experts().values()))
    cosines = {layer: cosine_of(gram) for layer, gram in grams.items()}
    distances = {layer: distance_of(gram) for layer, gram in grams.items()}
    rows = (
        (layer, experts[i], experts[j], cosines[layer][i, j], distances[layer][i, j])
        for layer in grams
        for i, j in combinations(range(len(experts)), 2)
    )
    header = ("layer", "task_a", "task_b", "cosine", "distance")
    table = write_rows(out / "similarity.csv", header, rows)
    plot_similarity(out / "similarity.png", experts, cosines, distances)
    return [table, out / "similarity.png"]


def gram_matrices(base: State, experts: Sequence[State]) -> dict[str, FloatArray]:
    """Return the inner products of all pairs of task vectors, (T, T), by layer and for "all".

    They are computed in float64.
    """
    vectors = [lazy_task_vector(base, expert) for expert in experts]
    grams: dict[str, FloatArray] = {}
    for key in vectors[0]:
        rows = torch.stack([vector[key].flatten().double() for vector in vectors])
        gram = (rows @ rows.T).numpy()
        for layer in (layer_of(key), "all"):
            grams[layer] = grams.get(layer, 0) + gram
    return {**{k: gram for k, gram in grams.items() if k != "all"}, "all": grams["all"]}


def layer_of(key: str) -> str:
    """Return the part of a block that a weight is in, or the part of the encoder outside blocks.

    >>> layer_of("blocks.3.mlp.fc1.weight"), layer_of("patch_embed.proj.weight")
    ('blocks.3.mlp', 'patch_embed')
    """
    parts = key.split(".")
    return ".".join(parts[:3]) if parts[0] == "blocks" else parts[0]


def cosine_of(gram: FloatArray) -> FloatArray:
    """Compute cosines from inner products (T, T); 0 where a task vector is 0."""
    norms = np.sqrt(gram.diagonal())
    products = np.outer(norms, norms)
    return np.divide(gram, products, out=np.zeros_like(gram), where=products > 0)


def distance_of(gram: FloatArray) -> FloatArray:
    """Compute Euclidean distances from inner products (T, T)."""
    squares = gram.diagonal()
    return np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * gram, 0))


def write_landscape(
    suite: Suite,
    data: VisionData,
    tasks: tuple[str, str],
    out: Path,
    points: int = 11,
    images: int = 256,
) -> list[Path]:
    """Write and draw the loss and accuracy of two tasks over the plane θ0 + a τ_1 + b τ_2.

    Args:
        suite: the suite of the pretrained encoder, the two experts and the two heads.
        data: the data module, which has the test images.
        tasks: the names of the two tasks.
        out: the folder of `landscape.csv` and `landscape.png`.
        points: the number of values that each of a and b takes from -0.5 to 1.5.
        images: the number of labelled test images of each task that are scored, the first ones.

    Raises:
        ConfigError: a value is out of range, or a task has no expert.
        DataError: a task has no labelled images.
    """
    if points < 2 or images < 1:
        raise ConfigError(
            f"points is {points} and images is {images}: give at least 2 points and 1 image."
        )
    for task in tasks:
        if task not in suite.experts:
            raise ConfigError(f"'{task}' has no expert: choose two of {', '.join(suite.experts)}.")
    batches = {task: labelled_images(data, task, images) for task in tasks}
    heads = {task: suite.load_head(task) for task in tasks}
    grid = np.linspace(*SPAN, points)
    losses = {task: np.zeros((points, points)) for task in tasks}
    rows = []
    for (i, a), (j, b), encoder in encoders_on_plane(suite, tasks, grid):
        for task in tasks:
            losses[task][i, j], accuracy = score(encoder, heads[task], *batches[task])
            rows.append((a, b, task, losses[task][i, j], accuracy))
    table = write_rows(out / "landscape.csv", ("a", "b", "task", "loss", "accuracy"), rows)
    plot_landscape(out / "landscape.png", grid, losses, TaskArithmetic().scaling)
    return [table, out / "landscape.png"]


def encoders_on_plane(
    suite: Suite, tasks: tuple[str, str], grid: FloatArray
) -> Iterator[tuple[tuple[int, float], tuple[int, float], nn.Module]]:
    """Yield (i, a), (j, b) and the encoder θ0 + a τ_1 + b τ_2, for all values a and b of a grid.

    The same encoder is yielded every time, with other weights.
    """
    encoder, experts = suite.load_pretrained(), suite.load_experts()
    base = {key: weight.clone() for key, weight in encoder.state_dict().items()}
    vectors = [dict(lazy_task_vector(base, experts[task])) for task in tasks]
    places = list(product(enumerate(grid), enumerate(grid)))
    for (i, a), (j, b) in progress(places, "Landscape"):
        scaled = (
            {key: coefficient * delta for key, delta in vector.items()}
            for coefficient, vector in zip((a, b), vectors, strict=True)
        )
        encoder.load_state_dict(add_task_vectors(base, scaled, scaling=1.0))
        yield (i, a), (j, b), encoder


def labelled_images(data: VisionData, task: str, count: int) -> tuple[Tensor, Tensor]:
    """Read the first test images of a task that have a label, (N, 3, H, W), and their labels."""
    images = data.sets.load(data.sets.scored[task])
    known = [i for i, label in enumerate(images.images.labels) if label != UNLABELLED][:count]
    if not known:
        raise DataError(f"'{task}' has no labelled test images: its loss cannot be measured.")
    pixels, labels = zip(*(images[i] for i in known), strict=True)
    return torch.stack(pixels), torch.tensor(labels)


@torch.no_grad()
def score(
    encoder: nn.Module, head: nn.Module, images: Tensor, labels: Tensor
) -> tuple[float, float]:
    """Return the cross-entropy of images (N, 3, H, W) in nats, and the accuracy from 0 to 1."""
    logits = torch.cat([head(encoder(batch)) for batch in images.split(BATCH)])
    right = (logits.argmax(dim=-1) == labels).double()
    return F.cross_entropy(logits, labels).item(), right.mean().item()


def write_parameters(
    backbone: Backbone, methods: Mapping[str, MergeMethod], max_tasks: int, out: Path
) -> list[Path]:
    """Write and draw the numbers of parameters of merged models, by number of tasks.

    Parameters are counted on models on the meta device, which take no memory.

    Args:
        backbone: the architecture of the encoders.
        methods: the merge methods, by the names that they have in the table and the figure.
        max_tasks: the largest number of tasks.
        out: the folder of `parameters.csv` and `parameters.png`.
    """
    pretrained = backbone.skeleton()
    counts = {
        name: [sizes(method, pretrained, tasks) for tasks in range(1, max_tasks + 1)]
        for name, method in methods.items()
    }
    rows = ((name, n, *pair) for name, pairs in counts.items() for n, pair in enumerate(pairs, 1))
    header = ("method", "tasks", "total", "trainable")
    table = write_rows(out / "parameters.csv", header, rows)
    plot_parameters(out / "parameters.png", counts)
    return [table, out / "parameters.png"]


def sizes(method: MergeMethod, pretrained: nn.Module, tasks: int) -> tuple[int, int]:
    """Count the total and the trainable parameters of a merge of some number of experts."""
    experts = {f"task{i}": state_of(pretrained) for i in range(tasks)}
    counts = parameter_counts(method.merge(pretrained, experts))
    return counts["total"], counts["trainable"]


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """Write a table as CSV, whole or not at all, without cells that a spreadsheet would run."""
    with (
        atomic_rewrite(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        csv.writer(file).writerows(map(csv_cells, [header, *rows]))
    return path
