"""What tests of advice share: experts near their pretrained encoder, and made-up figures."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from wemoe_pl.checkpoints import save_tensors
from wemoe_pl.data.suite import Suite
from wemoe_pl.preflight.advice.measures import ALL, TaskVectorFigures

Figures = Callable[..., TaskVectorFigures]


@pytest.fixture(scope="session")
def near_suite(tiny_suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """`tiny_suite` with experts that differ a little from the pretrained encoder."""
    folder = tmp_path_factory.mktemp("near_suite")
    base = dict(tiny_suite.open_pretrained())
    experts = {}
    for seed, task in enumerate(tiny_suite.experts):
        generator = torch.Generator().manual_seed(seed)
        near = {
            key: w + 0.02 * (seed + 1) * torch.randn(w.shape, generator=generator)
            for key, w in base.items()
        }
        save_tensors(folder / f"{task}.safetensors", near, {})
        experts[task] = str(folder / f"{task}.safetensors")
    return replace(tiny_suite, experts=experts)


@pytest.fixture
def replaced(near_suite: Suite, tmp_path: Path) -> Callable[..., Suite]:
    """`replaced(cars=state)`: the suite with other weights of these tasks."""

    def write(**states: dict[str, torch.Tensor]) -> Suite:
        experts = dict(near_suite.experts)
        for task, state in states.items():
            save_tensors(tmp_path / f"{task}.safetensors", state, {})
            experts[task] = str(tmp_path / f"{task}.safetensors")
        return replace(near_suite, experts=experts)

    return write


@pytest.fixture
def figures() -> Figures:
    """`figures([3, 0], [0, 4])`: two task vectors, the first entry of each outside the MLPs."""

    def make(*vectors: list[float], conflicts: tuple[float, ...] = ()) -> TaskVectorFigures:
        rows = np.array(vectors, dtype=np.float64)
        outside, inside = rows[:, :1], rows[:, 1:]
        layers = {"norm": outside @ outside.T, "blocks.0.mlp": inside @ inside.T}
        return TaskVectorFigures(
            tasks=tuple("abcdefghijklmnopqrstuvwxyz"[: len(rows)]),
            norms={"norm": 10.0, "blocks.0.mlp": 10.0, ALL: 100.0},
            grams={**layers, ALL: rows @ rows.T},
            conflicts=conflicts or (0.25,) * (len(rows) - 1),
        )

    return make
