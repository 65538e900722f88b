"""Adapters: what is in them is what was learned."""

from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from wemoe_pl.export.adapter import ADAPTER_FILE, write_adapter
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.merging.adamerging import AdaMerging
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import EWEMoE, WEMoE


@pytest.mark.parametrize(
    ("method", "learned"),
    [
        (TaskArithmetic(), set()),
        (AdaMerging(), {"encoder.coefficients"}),
        (WEMoE(router_depth=0), {f"encoder.blocks.{i}.mlp.router.weights" for i in (0, 1)}),
        (
            EWEMoE(router_depth=1),
            {f"encoder.blocks.0.mlp.router.out.{part}" for part in ("weight", "bias")},
        ),
    ],
    ids=lambda value: getattr(value, "label", ""),
)
def test_an_adapter_holds_what_was_learned_and_nothing_else(
    make_model: Callable[[MergeMethod], ExportedModel],
    method: MergeMethod,
    learned: set[str],
    tmp_path: Path,
) -> None:
    model = make_model(method)
    write_adapter(model, tmp_path)
    stored = load_file(tmp_path / ADAPTER_FILE)
    assert stored.keys() == learned
    assert all(tensor.equal(model.adapted[name]) for name, tensor in stored.items())
