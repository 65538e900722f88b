"""Write programs that need none of this package: from images to features and all tasks' logits."""

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
EXAMPLES = 2  # the batch by which a program is traced; it is checked with another size
OPSET = 20


class AllTasks(nn.Module):
    """The module is a classifier as one function of images, with an output for each task."""

    def __init__(self, classifier: MultiTaskClassifier):
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return features (B, D), then logits (B, C) of every task, for images (B, 3, H, W)."""
        features = self.classifier.encode(images)
        return features, *(self.classifier.head(task)(features) for task in self.classifier.tasks)


@torch.no_grad()
def traced(model: ExportedModel) -> torch.export.ExportedProgram:
    """Trace the classifier as a program for batches of any size."""
    module = AllTasks(model.classifier).eval()
    batch = ({0: torch.export.Dim("batch")},)
    return torch.export.export(module, (model.images[:EXAMPLES],), dynamic_shapes=batch)


def write_program(model: ExportedModel, folder: Path) -> None:
    """Write a program that `torch.export.load` reads, and the class names of every output."""
    with warnings.catch_warnings():  # it warns of weights that are views, which are stored as such
        warnings.filterwarnings("ignore", "No complete tensor found in the group")
        torch.export.save(traced(model), folder / PROGRAM_FILE)
    write_classes(model, folder)


def write_onnx(model: ExportedModel, folder: Path) -> None:
    """Write a model that onnxruntime reads, and the class names of every output."""
    program = torch.onnx.export(
        traced(model),
        input_names=[INPUT],
        output_names=[FEATURES, *map(output_name, model.classifier.tasks)],
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None  # with `dynamo`, it never is
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
    """Rename the values within a graph, so that none is named like an output.

    torch names values after operators, such as `linear`, which may be the name of a task. The new
    names have a dot, which no task's name has.

    Args:
        graph: the graph, of the library onnx_ir.
    """
    outputs = {id(value) for value in graph.outputs}
    made = [value for node in graph for value in node.outputs]
    for value in [*made, *list(graph.initializers.values())]:
        if id(value) not in outputs and "." not in value.name:
            value.name = f"within.{value.name}"


def write_classes(model: ExportedModel, folder: Path) -> None:
    """Write the class names of each task's logits."""
    heads = model.classifier
    classes = {task: list(heads.head(task).classes) for task in heads.tasks}
    (folder / CLASSES_FILE).write_text(json.dumps(classes, indent=2) + "\n")


@torch.no_grad()
def program_features(folder: Path, images: Tensor) -> Tensor:
    """Compute the features of images (B, 3, H, W) by the written program."""
    features: Tensor = torch.export.load(folder / PROGRAM_FILE).module()(images)[0]
    return features


def onnx_features(folder: Path, images: Tensor) -> Tensor:
    """Compute the features of images (B, 3, H, W) by the written program in onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / ONNX_FILE, providers=["CPUExecutionProvider"])
    [features] = session.run([FEATURES], {INPUT: images.numpy()})
    return torch.from_numpy(features)
