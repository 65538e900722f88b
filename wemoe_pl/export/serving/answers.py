"""Answer a batch of requests, of whatever tasks, in one forward pass."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import Tensor

from wemoe_pl.data.preprocessing import Pixels
from wemoe_pl.model.answering import Prediction, Question, answers_to
from wemoe_pl.model.classifier import MultiTaskClassifier
from wemoe_pl.model.task_inference import BEST_RULE
from wemoe_pl.model.torch_defaults import torch_defaults

ByExpertAndBlock = dict[str, dict[str, float]]


class Asked(NamedTuple):
    """An `Asked` is a request that was found to be in order, with its image decoded.

    Attributes:
        pixels: the pixels of the image, resized and cropped, (H, W, C).
        task: the task of the image; None if it is to be inferred.
        top: the number of classes that the answer lists.
        reject: True to give an image no task if it is unlike all.
        routing: True to add the routing weights to the answer.
    """

    pixels: Pixels
    task: str | None = None
    top: int = 1
    reject: bool = False
    routing: bool = False


class RankedClass(BaseModel):
    """A ranked class is a class of the task with its probability."""

    name: str = Field(alias="class")
    probability: float


class ServedAnswer(BaseModel):
    """A served answer has the fields of a `Prediction`, with `class` for `class_name`."""

    task: str | None = Field(description="The given or inferred task; null for none of the tasks.")
    task_confidence: float | None = Field(
        description="From 0 to 1; null if the task was given, or is the only one."
    )
    name: str | None = Field(alias="class", description="The most probable class of the task.")
    probability: float | None = Field(description="The probability of this class.")
    top: list[RankedClass] = Field(description="The most probable classes, best first.")
    routing: ByExpertAndBlock | None = Field(
        description="The weight of each expert in each block that routes, if it was asked for."
    )


class Answerer:
    """An answerer holds a model, and answers a batch of requests at once.

    Args:
        model: the model that answers.
    """

    def __init__(self, model: MultiTaskClassifier):
        self.model = model
        self.least = model.thresholds.get(BEST_RULE, {})

    def __call__(self, batch: Sequence[Asked]) -> list[dict[str, Any]]:
        """Answer requests, in their order, as the JSON of `ServedAnswer`."""
        if self.model.routes_batches and len(batch) > 1:
            return [answer for asked in batch for answer in self([asked])]
        return self.answer(batch)

    @torch_defaults()
    @torch.inference_mode()
    def answer(self, batch: Sequence[Asked]) -> list[dict[str, Any]]:
        """Answer requests in one forward pass."""
        only = self.model.tasks[0] if len(self.model.tasks) == 1 else None
        questions = [
            Question(row, asked.task or only, asked.top, self.least if asked.reject else {})
            for row, asked in enumerate(batch)
        ]
        pixels = np.stack([asked.pixels for asked in batch])
        images = self.model.preprocess.normalise(pixels).to(next(self.model.parameters()))
        found = answers_to(questions, self.model, images, self.model.tasks, BEST_RULE)
        routing = self.routing_of(batch)
        return [as_json(prediction, routing.get(row)) for row, prediction in enumerate(found)]

    def routing_of(self, batch: Sequence[Asked]) -> dict[int, ByExpertAndBlock]:
        """Return the routing weights of the last batch for the rows that asked for them."""
        rows = [row for row, asked in enumerate(batch) if asked.routing]
        if not rows:
            return {}
        weights = torch.stack(self.model.routing_weights, dim=1)[rows].float().cpu()
        return {row: self.named(of_row) for row, of_row in zip(rows, weights, strict=True)}

    def named(self, weights: Tensor) -> ByExpertAndBlock:
        """Return the routing weights of one image, (blocks, T), by expert and block."""
        blocks = self.model.routed_names
        by_expert = zip(self.model.experts, weights.unbind(dim=-1), strict=True)
        return {
            expert: dict(zip(blocks, values.tolist(), strict=True)) for expert, values in by_expert
        }


def as_json(prediction: Prediction, routing: ByExpertAndBlock | None = None) -> dict[str, Any]:
    """Return a prediction as the JSON of `ServedAnswer`."""
    return {
        "task": prediction.task,
        "task_confidence": prediction.task_confidence,
        "class": prediction.class_name,
        "probability": prediction.probability,
        "top": [{"class": name, "probability": share} for name, share in prediction.top],
        "routing": routing,
    }
