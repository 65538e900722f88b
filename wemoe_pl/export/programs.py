"""Programs that need none of this package: images in, features and the logits of every task out."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.model.classifier import MultiTaskClassifier

ONNX_FILE = "model.onnx"
PROGRAM_FILE = "model.pt2"
CLASSES_FILE = "classes.json"
INPUT = "images"
FEATURES = "features"
EXAMPLES = 2  # in the batch by which a program is traced: another number than it is checked with
OPSET = 20


class AllTasks(nn.Module):
    """A classifier as one function of images, with an output for each of its tasks."""

    def __init__(self, classifier: MultiTaskClassifier):
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) → features (B, D), then logits (B, C) of every task."""
        features = self.classifier.encode(images)
        return features, *(self.classifier.head(task)(features) for task in self.classifier.tasks)


@torch.no_grad()
def traced(model: ExportedModel) -> torch.export.ExportedProgram:
    """Trace the classifier as a program for batches of any size."""
    module = AllTasks(model.classifier).eval()
    batch = ({0: torch.export.Dim("batch")},)
    return torch.export.export(module, (model.images[:EXAMPLES],), dynamic_shapes=batch)


def write_program(model: ExportedModel, folder: Path) -> None:
    """Write what `torch.export.load` reads, and the class names of every output."""
    with warnings.catch_warnings():  # of weights that are read by columns: they are stored so
        warnings.filterwarnings("ignore", "No complete tensor found in the group")
        torch.export.save(traced(model), folder / PROGRAM_FILE)
    write_classes(model, folder)


def write_onnx(model: ExportedModel, folder: Path) -> None:
    """Write what onnxruntime reads, and the class names of every output."""
    program = torch.onnx.export(
        traced(model),
        input_names=[INPUT],
        output_names=[FEATURES, *map(output_name, model.classifier.tasks)],
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None  # as it is for `dynamo`
    rename_within(program.model.graph)
    program.save(folder / ONNX_FILE, external_data=True)
    write_classes(model, folder)


def output_name(task: str) -> str:
    """Return the name of a task's output: the task's own, unless it is that of other values.

    >>> output_name("cars"), output_name("features")
    ('cars', 'features.logits')
    """
    return f"{task}.logits" if task in (INPUT, FEATURES) else task


def rename_within(graph: Any) -> None:
    """Give the values within a graph names that no output has: with a dot, as no task's name has.

    Args:
        graph: of the library onnx_ir. torch calls its values after operators, such as `linear`,
            which may be the name of a task.
    """
    outputs = {id(value) for value in graph.outputs}
    made = [value for node in graph for value in node.outputs]
    for value in [*made, *list(graph.initializers.values())]:
        if id(value) not in outputs and "." not in value.name:
            value.name = f"within.{value.name}"


def write_classes(model: ExportedModel, folder: Path) -> None:
    """Write which class each logit is of."""
    heads = model.classifier
    classes = {task: list(heads.head(task).classes) for task in heads.tasks}
    (folder / CLASSES_FILE).write_text(json.dumps(classes, indent=2) + "\n")


@torch.no_grad()
def program_features(folder: Path, images: Tensor) -> Tensor:
    """Compute what the written program gives for images (B, 3, H, W)."""
    features: Tensor = torch.export.load(folder / PROGRAM_FILE).module()(images)[0]
    return features


def onnx_features(folder: Path, images: Tensor) -> Tensor:
    """Compute with onnxruntime what the written program gives for images (B, 3, H, W)."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / ONNX_FILE, providers=["CPUExecutionProvider"])
    [features] = session.run([FEATURES], {INPUT: images.numpy()})
    return torch.from_numpy(features)
