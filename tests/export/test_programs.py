"""Programs for ONNX and torch: batches of any size, and an output for every task."""

import json
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import Tensor

from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.formats import export
from wemoe_pl.export.programs import CLASSES_FILE, ONNX_FILE, PROGRAM_FILE
from wemoe_pl.merging import MergeMethod, WEMoE

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
    tasks = json.loads((folder / CLASSES_FILE).read_text())

    def run(images: Tensor) -> dict[str, Tensor]:
        return dict(zip(["features", *tasks], program(images), strict=True))

    return run


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
    for size in (1, 5):
        images = torch.randn(size, 3, 32, 32, generator=torch.Generator().manual_seed(size))
        with torch.no_grad():
            expected = {"features": classifier.encode(images)}
            expected |= {task: classifier(images, task) for task in classifier.tasks}
            found = run(images)
        assert list(found) == ["features", "cars", "mnist"]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    classes = json.loads((exports / CLASSES_FILE).read_text())
    assert classes == {task: list(classifier.head(task).classes) for task in classifier.tasks}
