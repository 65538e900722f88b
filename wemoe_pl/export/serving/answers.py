"""Answer a batch of requests, of whatever tasks, in one forward pass."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import Tensor

from wemoe_pl.data.preprocessing import Pixels
from wemoe_pl.model.answering import Question, answers_to
from wemoe_pl.model.classifier import MultiTaskClassifier, check_can_specialise
from wemoe_pl.model.prediction import Prediction, ranked
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
        specialised: the number of tasks that have a plain model, which answers requests that name
            the task: the tasks that were asked for last. 0 routes every image.

    Raises:
        WeMoEError: the model cannot be specialised for each of its tasks.
    """

    def __init__(self, model: MultiTaskClassifier, specialised: int = 0):
        self.model = model
        self.specialised = specialised
        self.plain_model = lru_cache(maxsize=specialised)(model.specialise)
        if specialised:
            check_can_specialise(model)
            for task in model.tasks[:specialised]:
                self.plain_model(task)
        self.least = model.measured.thresholds.get(BEST_RULE, {})

    def __call__(self, batch: Sequence[Asked]) -> list[dict[str, Any]]:
        """Answer requests, in their order, as the JSON of `ServedAnswer`."""
        if self.model.routes_batches and len(batch) > 1:
            return [answer for asked in batch for answer in self([asked])]
        return self.answer(batch)

    @torch_defaults()
    @torch.inference_mode()
    def answer(self, batch: Sequence[Asked]) -> list[dict[str, Any]]:
        """Answer requests whose task has a plain model by it, and all others in one pass."""
        places: dict[str | None, list[int]] = {}
        for place, asked in enumerate(batch):
            is_plain = self.specialised and not asked.routing
            places.setdefault(asked.task if is_plain else None, []).append(place)
        found: dict[int, dict[str, Any]] = {}
        for task, rows in places.items():
            some = [batch[row] for row in rows]
            answers = self.routed(some) if task is None else self.plain(some, task)
            found |= zip(rows, answers, strict=True)
        return [found[place] for place in range(len(batch))]

    def plain(self, batch: Sequence[Asked], task: str) -> list[dict[str, Any]]:
        """Answer requests of one task by the plain model of this task."""
        classes, most = self.model.head(task).classes, max(asked.top for asked in batch)
        rankings = ranked(self.plain_model(task)(self.images(batch)), classes, most)
        shown = (ranking[: asked.top] for ranking, asked in zip(rankings, batch, strict=True))
        return [as_json(Prediction(task, None, *ranking[0], ranking)) for ranking in shown]

    def routed(self, batch: Sequence[Asked]) -> list[dict[str, Any]]:
        """Answer requests in one forward pass of the model."""
        only = self.model.tasks[0] if len(self.model.tasks) == 1 else None
        questions = [
            Question(row, asked.task or only, asked.top, self.least if asked.reject else {})
            for row, asked in enumerate(batch)
        ]
        images = self.images(batch)
        found = answers_to(questions, self.model, images, self.model.tasks, BEST_RULE)
        routing = self.routing_of(batch)
        return [as_json(prediction, routing.get(row)) for row, prediction in enumerate(found)]

    def images(self, batch: Sequence[Asked]) -> Tensor:
        """Return the images of a batch as the encoder takes them, (B, C, H, W)."""
        pixels = np.stack([asked.pixels for asked in batch])
        return self.model.preprocess.normalise(pixels).to(next(self.model.parameters()))

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
