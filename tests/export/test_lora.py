"""Merged adapters as an adapter of PEFT, and what no adapter can hold."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from wemoe_pl.checkpoints import IN_MEMORY, encoder_state
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import MergeError
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.loading import load
from wemoe_pl.export.lora import ExportedLoRA
from wemoe_pl.export.writing import export, size_of
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.core_space import CoreSpace
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.moe.low_rank_vectors import LowRankVectors
from wemoe_pl.moe.mixture import mixtures_of

MakeModel = Callable[[MergeMethod], ExportedModel]
RANK = 2
pytestmark = pytest.mark.filterwarnings("ignore:.*does not name the model")


def merged(suite: Suite, method: MergeMethod) -> ExportedModel:
    """A model whose routers, if it has any, are where they start."""
    return ExportedModel.assemble(suite, method, {}, is_adapted=False)


@pytest.mark.parametrize("method", [TaskArithmetic(), CoreSpace(), WEMoE(router_depth=0)])
def test_peft_loads_a_merge_of_adapters(
    method: MergeMethod, lora_suite: Suite, exports: Path
) -> None:
    model = merged(lora_suite, method)
    export(model, "peft", exports, lambda line: None)
    adapted = PeftModel.from_pretrained(lora_suite.load_pretrained(), str(exports)).eval()
    with torch.no_grad():
        most = 1e-5 * max(1, model.features.abs().max().item())  # as an export is compared
        torch.testing.assert_close(adapted(model.images), model.features, rtol=0, atol=most)
    config = json.loads((exports / "adapter_config.json").read_text())
    assert config["r"] <= len(lora_suite.experts) * RANK
    size = size_of(ExportedLoRA.of(model), "peft")
    assert 0 < (exports / "adapter_model.safetensors").stat().st_size - size < 8000
    state = encoder_state(str(exports), lora_suite.backbone, base=lora_suite.pretrained)
    for key, weight in model.classifier.encoder.state_dict().items():
        torch.testing.assert_close(state[key], weight, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", ["bundle", "adapter"])
def test_an_upscaled_model_of_adapters_keeps_their_rank_and_is_loaded(
    form: str, lora_suite: Suite, exports: Path
) -> None:
    model = merged(lora_suite, WEMoE())
    export(model, form, exports, lambda line: None)
    loaded = load(exports)
    for mixture in mixtures_of(loaded.encoder).values():
        stored = dict(mixture.task_vectors.items())
        assert isinstance(stored["fc1.weight"], LowRankVectors)
        assert len(stored["fc1.weight"].owners) == len(lora_suite.experts) * RANK
    with torch.no_grad():
        torch.testing.assert_close(loaded.encode(model.images), model.features)


def test_a_model_that_mixes_weights_anew_is_refused(lora_suite: Suite) -> None:
    with pytest.raises(MergeError, match=r"WEMoE mixes weights for every image anew, which an ada"):
        ExportedLoRA.of(merged(lora_suite, WEMoE()))


def test_whole_experts_give_no_adapter(tiny_suite: Suite) -> None:
    complaint = r"also changed '\w+', and an adapter changes the weights of linear layers only: ch"
    with pytest.raises(MergeError, match=complaint):
        ExportedLoRA.of(merged(tiny_suite, TaskArithmetic()))


def test_a_base_that_is_in_no_file_is_refused(lora_suite: Suite) -> None:
    model = merged(lora_suite, TaskArithmetic())
    in_memory = replace(model, suite=replace(lora_suite, pretrained=IN_MEMORY))
    with pytest.raises(MergeError, match="its pretrained model, which is in no file here: choose"):
        ExportedLoRA.of(in_memory)


def test_a_matrix_of_full_rank_is_refused(lora_suite: Suite) -> None:
    model = merged(lora_suite, TaskArithmetic())
    weight = model.classifier.encoder.state_dict()["blocks.0.mlp.fc1.weight"]
    weight.add_(torch.randn_like(weight))
    with pytest.raises(MergeError, match=r"'blocks\.0\.mlp\.fc1\.weight' by a matrix of rank 16, "):
        ExportedLoRA.of(model)
