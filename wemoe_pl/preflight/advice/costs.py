"""Count what each method would take: the memory of a job, and the arithmetic of a forward pass."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from wemoe_pl.bench.limits import Count
from wemoe_pl.bench.plan import COMPRESSIONS, parameter_count, places, upscaled_block
from wemoe_pl.bench.subjects import BenchRow, Shape
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import WeMoEError
from wemoe_pl.merging.from_samples import SampleMethod
from wemoe_pl.preflight.advice.methods import KNOWN_METHODS, KnownMethod
from wemoe_pl.preflight.memory import Memory, estimate
from wemoe_pl.training.adapt import TestTimeAdaptation
from wemoe_pl.training.module import MultiTaskModule
from wemoe_pl.training.sample_merging import SampleMerging

PER_TASK = 16  # images of each task in a step, as published for WEMoE
TEST_IMAGES = 32  # images in a batch of a test
LOOKS = 2  # forward passes of MASS for each image


@dataclass(frozen=True)
class Cost:
    """A `Cost` says what a method takes.

    Args:
        config: the name of the method's config.
        memory: the bytes of the job on its device, in single precision: with 16 images per task
            for a fit, or a batch of 32 images for a test. None if it cannot be estimated.
        arithmetic: the multiply-adds that the MLPs take for an image, divided by those of one
            model; None if they are not counted.
    """

    config: str
    memory: int | None
    arithmetic: float | None


def costs_of(suite: Suite) -> Iterator[Cost]:
    """Yield the cost of every known method; no weight is read."""
    shape = shape_of(suite.backbone.skeleton())
    memories: dict[str, int | None] = {}
    for known in KNOWN_METHODS:
        kind = kind_of_memory(known)
        if kind not in memories:
            memories[kind] = memory_of(suite, known)
        yield Cost(known.config, memories[kind], arithmetic_of(known, shape, len(suite.experts)))


def kind_of_memory(known: KnownMethod) -> str:
    """Return a name that methods share if their jobs take the same memory: one plain encoder."""
    is_plain = known.family in ("average", "sum", "spectral", "stock") or known.config == "lines"
    is_plain = is_plain and known.method.is_static and known.config != "mass"
    return "one encoder" if is_plain else known.config


def memory_of(suite: Suite, known: KnownMethod) -> int | None:
    """Estimate the bytes of a job; None if they depend on weights, or torch needs data for them."""
    if known.family == "per task":
        return None
    module: MultiTaskModule
    if isinstance(known.method, SampleMethod):
        module = SampleMerging(suite, known.method)
    else:
        module = TestTimeAdaptation(suite, known.method, references=False)
    try:
        memory: Memory = estimate(module, PER_TASK * len(suite.experts), TEST_IMAGES)
    except (RuntimeError, WeMoEError):
        return None
    return memory.test if known.method.is_static else max(memory.fit, memory.test)


def arithmetic_of(known: KnownMethod, shape: Shape | None, experts: int) -> float | None:
    """Return the multiply-adds of the MLPs for an image, relative to those of one model."""
    if known.family == "routed":
        if shape is None:
            return None
        merged, plain = (Count.of(shape, 1, count, False) for count in (experts, 0))
        return merged.multiply_adds / plain.multiply_adds
    return {"smile": None, "mass": float(LOOKS)}.get(known.config, 1.0)


def planned(suite: Suite) -> list[BenchRow]:
    """Return what `bench plan` counts for the dictionary of WEMoE, for the suite's own shape.

    The list is empty for backbones whose MLPs are not two layers with four times the width.
    """
    shape = shape_of(suite.backbone.skeleton())
    if shape is None:
        return []
    return [
        {"form": form, **row}
        for form, compression in COMPRESSIONS.items()
        for row in places(shape, upscaled_block(shape, len(suite.experts), compression))
    ]


def shape_of(encoder: nn.Module) -> Shape | None:
    """Return the sizes of a plain vision transformer; None for any other encoder."""
    model: Any = encoder
    try:
        shape = Shape(
            width=model.embed_dim,
            tokens=model.pos_embed.shape[1],
            blocks=len(model.blocks),
            heads=model.blocks[0].attn.num_heads,
            image=model.patch_embed.img_size[0],
            patch=model.patch_embed.patch_size[0],
        )
        return shape if parameter_count(model.blocks[0].mlp) == shape.weights else None
    except (AttributeError, TypeError, IndexError):
        return None
