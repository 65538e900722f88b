"""Programs for ONNX and torch: batches of any size, and an output for every task."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor

from wemoe_pl.checkpoints import Backbone
from wemoe_pl.checkpoints.heads import LinearHead
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.programs import (
    CLASSES_FILE,
    ONNX_FILE,
    OUTPUTS_FILE,
    PROGRAM_FILE,
    write_onnx,
    write_program,
)
from wemoe_pl.export.writing import export
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.model.classifier import MultiTaskClassifier
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.low_rank import LowRank
from wemoe_pl.moe.quantised import Quantised
from wemoe_pl.moe.router import Gate

Run = Callable[[Tensor], dict[str, Tensor]]


def run_onnx(folder: Path) -> Run:
    session = onnxruntime.InferenceSession(folder / ONNX_FILE, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(images: Tensor) -> dict[str, Tensor]:
        found = session.run(None, {"images": images.numpy()})
        return {name: torch.from_numpy(each) for name, each in zip(names, found, strict=True)}

    return run


def run_torch(folder: Path) -> Run:
    program = torch.export.load(folder / PROGRAM_FILE).module()
    names = json.loads((folder / OUTPUTS_FILE).read_text())["outputs"]

    def run(images: Tensor) -> dict[str, Tensor]:
        return dict(zip(names, program(images), strict=True))

    return run


@pytest.mark.slow
@pytest.mark.parametrize(("name", "open_it"), [("onnx", run_onnx), ("torch-export", run_torch)])
def test_a_program_answers_for_every_task_in_batches_of_any_size(
    make_model: Callable[[MergeMethod], ExportedModel],
    name: str,
    open_it: Callable[[Path], Run],
    exports: Path,
) -> None:
    model = make_model(WEMoE())
    export(model, name, exports, lambda line: None)
    run, classifier = open_it(exports), model.classifier
    assert not classifier.routing_weights  # tracing has left nothing in the modules
    for size in (1, 5):
        images = torch.randn(size, 3, 32, 32, generator=torch.Generator().manual_seed(size))
        with torch.no_grad():
            expected = {"features": classifier.encode(images)}
            expected |= {task: classifier(images, task) for task in classifier.tasks}
            by_expert = classifier.routing(images)
            expected["routing_weights"] = torch.stack([*by_expert.values()], dim=-1)
            found = run(images)
        assert list(found) == ["features", "cars", "mnist", "routing_weights"]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    classes = json.loads((exports / CLASSES_FILE).read_text())
    assert classes == {task: list(classifier.head(task).classes) for task in classifier.tasks}
    assert json.loads((exports / OUTPUTS_FILE).read_text()) == {
        "outputs": ["features", "cars", "mnist", "routing_weights"],
        "blocks": ["0", "1"],
        "experts": ["cars", "mnist"],
    }


def test_a_model_without_routers_has_no_output_for_them(
    make_model: Callable[[MergeMethod], ExportedModel], tmp_path: Path
) -> None:
    model = make_model(WEMoE(router_depth=0))
    write_program(model, tmp_path)
    assert list(run_torch(tmp_path)(model.images)) == ["features", "cars", "mnist"]
    outputs = json.loads((tmp_path / OUTPUTS_FILE).read_text())
    assert outputs == {"outputs": ["features", "cars", "mnist"]}


def test_no_name_of_a_task_collides_with_another_in_a_graph(tmp_path: Path) -> None:
    sizes = {"img_size": 32, "patch_size": 16, "embed_dim": 8, "depth": 1, "num_heads": 2}
    backbone = Backbone("vit_tiny_patch16_224", sizes)
    tasks = ("images", "features", "linear", "batch", "routing_weights")
    heads = {task: LinearHead(torch.randn(2, 8), ["a", "b"], torch.randn(2)) for task in tasks}
    classifier = MultiTaskClassifier(backbone.build(), heads, backbone=backbone)
    images = torch.randn(3, 3, 32, 32)
    model: Any = SimpleNamespace(classifier=classifier, images=images)
    write_onnx(model, tmp_path)
    found = run_onnx(tmp_path)(images)
    renamed = ["images.logits", "features.logits", "linear", "batch", "routing_weights.logits"]
    assert list(found) == ["features", *renamed]
    with torch.no_grad():
        expected = [classifier.encode(images), *(classifier(images, task) for task in tasks)]
    torch.testing.assert_close([*found.values()], expected, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [
        WEMoE(compression=Quantised()),
        WEMoE(compression=LowRank(rank=3)),
        WEMoE(attention=LowRank(rank=3), gate=Gate(softmax=True, temperature=0.5, top_k=1)),
        WEMoE(attention=Dense(), attention_router="shared"),
    ],
    ids=repr,
)
@pytest.mark.parametrize(("name", "open_it"), [("onnx", run_onnx), ("torch-export", run_torch)])
def test_a_program_answers_with_any_dictionary(
    make_model: Callable[[MergeMethod], ExportedModel],
    name: str,
    open_it: Callable[[Path], Run],
    method: WEMoE,
    exports: Path,
) -> None:
    model = make_model(method)
    export(model, name, exports, lambda line: None)
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        expected = model.classifier.encode(images)
    torch.testing.assert_close(open_it(exports)(images)["features"], expected, rtol=0, atol=1e-4)
