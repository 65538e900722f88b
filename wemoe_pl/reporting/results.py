"""Collect and write `results.json`: the scores of a run, and the facts of how it was made."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from wemoe_pl.checkpoints import HEAD
from wemoe_pl.data.corruptions.task import Corruption
from wemoe_pl.data.miniature import FreshRender
from wemoe_pl.merging.baselines import PerTaskEncoder
from wemoe_pl.model.recipe import describe
from wemoe_pl.system.files import atomic_write
from wemoe_pl.system.provenance import revision, versions
from wemoe_pl.system.schema import json_text
from wemoe_pl.system.warn import warn
from wemoe_pl.training.metrics import mean, never_right, normalized_mean
from wemoe_pl.training.module import MultiTaskModule
from wemoe_pl.training.routing import TaskRouting
from wemoe_pl.training.shown_metrics import INFORMATION

ROUTING_DIGITS = 6  # after the point: routing weights are near 0.3, and more change no answer


def collect_results(
    module: MultiTaskModule,
    seed: int,
    corruption: Corruption | None = None,
    render: FreshRender | None = None,
) -> dict[str, Any]:
    """Collect the facts of `results.json` about a tested module and its test images."""
    accuracy = module.test_results["accuracy"]
    reference = module.test_results["reference"]
    individual = reference.get("individual", {})
    classifier = module.classifier
    return {
        "suite": module.suite.name,
        "note": module.suite.note,
        "method": module.method,
        "merge": module.recipe.get("merge"),
        "experts": list(module.suite.experts),
        "corruption": describe(corruption),
        "render": describe(render),
        "tasks": list(accuracy) or list(module.test_results[INFORMATION.result]),
        "classes": dict(classifier.num_classes),
        **module.test_results,
        "routing": mean_routing(module.routing),
        "own_reference": module.own_reference,
        "told_task": isinstance(classifier.encoder, PerTaskEncoder),
        "mean": mean(accuracy),
        "normalized_mean": normalized_mean(accuracy, individual),
        "normalized_without": never_right(individual),
        "parameters": parameter_counts(classifier.encoder, classifier.heads),
        "seconds": {stage: round(value, 3) for stage, value in module.seconds.items()},
        "versions": versions(),
        "revision": revision(),
        "seed": seed,
        "sources": module.frozen_sources,
    }


def mean_routing(routing: Mapping[str, TaskRouting]) -> dict[str, list[list[float]]]:
    """Return the mean routing weights of each task, a row per block; leave out what is not finite.

    A model of routers that have diverged has other scores that tell so.
    """
    means = {task: statistics.mean.double().cpu() for task, statistics in routing.items()}
    return {
        task: [[round(weight, ROUTING_DIGITS) for weight in row] for row in mean.tolist()]
        for task, mean in means.items()
        if mean.isfinite().all()
    }


def parameter_counts(encoder: nn.Module, heads: nn.Module | None = None) -> dict[str, int]:
    """Count parameters as published: without heads, and so without CLIP's projection.

    Four bytes of compressed experts count as one parameter, in addition to those of the pretrained
    encoder.

    Args:
        encoder: the merged encoder.
        heads: the heads of the tasks; only heads that are trained with the encoder count.
    """
    copies, compressed, one = 1, 0, encoder
    if isinstance(encoder, PerTaskEncoder):
        one = encoder.encoder
        if encoder.nbytes is None:
            copies = len(encoder.experts)
        else:
            compressed = math.ceil(encoder.nbytes / 4)
    weights = ((name, p) for name, p in one.named_parameters() if p.is_floating_point())
    counted = [p for name, p in weights if not name.startswith(HEAD)]
    of_heads = sum(p.numel() for p in (heads or nn.Module()).parameters() if p.requires_grad)
    return {
        "total": copies * sum(p.numel() for p in counted) + compressed + of_heads,
        "trainable": sum(p.numel() for p in counted if p.requires_grad) + of_heads,
    }


def write_results(path: Path, results: Mapping[str, Any]) -> None:
    """Write `results.json`, whole or not at all, without numbers that are not finite."""
    with atomic_write(path) as temporary:
        temporary.write_text(json_text(finite(results)), encoding="utf-8")


def finite(results: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return results without numbers that are not finite, which JSON lacks; warn of each of them.

    At the top level, such a number becomes None. A model whose answers are NaN still has an
    accuracy, but its other scores tell nothing.
    """
    kept: dict[str, Any] = {}
    for name, value in results.items():
        if isinstance(value, float) and not math.isfinite(value):
            warn(f"'{above}{name}' is not written to the results, since it is {value}.")
            kept |= {} if above else {name: None}
        else:
            is_nested = isinstance(value, Mapping)
            kept[name] = finite(value, f"{above}{name}.") if is_nested else value
    return kept
