"""Write programs that need none of this package: from images to features and all tasks' logits."""

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.model.classifier import MultiTaskClassifier

ONNX_FILE = "model.onnx"
PROGRAM_FILE = "model.pt2"
CLASSES_FILE = "classes.json"
OUTPUTS_FILE = "outputs.json"
INPUT = "images"
FEATURES = "features"
ROUTING_WEIGHTS = "routing_weights"
EXAMPLES = 2  # the batch by which a program is traced; it is checked with other sizes
OPSET = 20

Run = Callable[[Tensor], Sequence[Tensor]]


class AllTasks(nn.Module):
    """The module is a classifier as one function of images, with an output for each task."""

    def __init__(self, classifier: MultiTaskClassifier):
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the features (B, D), the logits (B, C) of every task, and the routing weights.

        The routing weights, (B, blocks, T), come last; a model without routers has none.

        Args:
            images: the images, (B, 3, H, W).
        """
        classifier = self.classifier
        # Weights with a graph are dropped afterwards, so that tracing leaves nothing in modules.
        with classifier.recorded_routing(detached=False):
            features = classifier.encode(images)
            routing_weights = classifier.routing_weights
        logits = (classifier.head(task)(features) for task in classifier.tasks)
        routing = [torch.stack(routing_weights, dim=1)] if routing_weights else []
        return features, *logits, *routing


@torch.no_grad()
def traced(model: ExportedModel) -> torch.export.ExportedProgram:
    """Trace the classifier as a program for batches of any size."""
    module = AllTasks(model.classifier).eval()
    batch = ({0: torch.export.Dim("batch")},)
    return torch.export.export(module, (model.images[:EXAMPLES],), dynamic_shapes=batch)


def write_program(model: ExportedModel, folder: Path) -> None:
    """Write a program that `torch.export.load` reads, and what its outputs are."""
    with warnings.catch_warnings():  # it warns of weights that are views, which are stored as such
        warnings.filterwarnings("ignore", "No complete tensor found in the group")
        torch.export.save(traced(model), folder / PROGRAM_FILE)
    describe_outputs(model, folder)


def write_onnx(model: ExportedModel, folder: Path) -> None:
    """Write a model that onnxruntime reads, and what its outputs are."""
    program = torch.onnx.export(
        traced(model),
        input_names=[INPUT],
        output_names=output_names(model.classifier),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None  # with `dynamo`, it never is
    rename_within(program.model.graph)
    program.save(folder / ONNX_FILE, external_data=True)
    describe_outputs(model, folder)


def output_names(classifier: MultiTaskClassifier) -> list[str]:
    """Return the names of a program's outputs, in their order."""
    routing = [ROUTING_WEIGHTS] if classifier.routed else []
    return [FEATURES, *map(output_name, classifier.tasks), *routing]


def output_name(task: str) -> str:
    """Return the name of a task's output: the task's own, unless it is that of other values.

    >>> output_name("cars"), output_name("features")
    ('cars', 'features.logits')
    """
    return f"{task}.logits" if task in (INPUT, FEATURES, ROUTING_WEIGHTS) else task


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


def describe_outputs(model: ExportedModel, folder: Path) -> None:
    """Write the class names of each task's logits, and the names of all outputs in their order.

    A second file has the experts and the blocks that the routing weights belong to.
    """
    heads = model.classifier
    classes = {task: list(heads.head(task).classes) for task in heads.tasks}
    (folder / CLASSES_FILE).write_text(json.dumps(classes, indent=2) + "\n")
    outputs: dict[str, list[str]] = {"outputs": output_names(heads)}
    if heads.routed:
        outputs |= {"blocks": heads.routed_names, "experts": list(heads.experts)}
    (folder / OUTPUTS_FILE).write_text(json.dumps(outputs, indent=2) + "\n")


def open_program(folder: Path) -> Run:
    """Return the written program as a function of images."""
    run: Run = torch.no_grad()(torch.export.load(folder / PROGRAM_FILE).module())
    return run


def open_onnx(folder: Path) -> Run:
    """Return the written program as a function of images, which onnxruntime runs."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / ONNX_FILE, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> list[Tensor]:
        return [torch.from_numpy(found) for found in session.run(None, {INPUT: images.numpy()})]

    return run
