"""Compute the outputs of a step of adaptation, as far as an objective needs them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from wemoe_pl.errors import ConfigError
from wemoe_pl.model.multi_task_model import Encoded, MultiTaskModel

Need = Literal[
    "features",
    "routing_weights",
    "images",
    "expert_logits",
    "expert_features",
    "expert_shift",
]
# A function of images by task that returns some needs, each by task.
Teachers = Callable[[Mapping[str, Tensor]], Mapping[Need, dict[str, Tensor]]]


@dataclass(frozen=True, eq=False)
class AdaptationOutputs:
    """The outputs are what an objective sees of one task's images in one step, without labels.

    With several processes, they are for the images of all processes. Outputs that the objective
    does not list in its `needs` are not computed, and reading them raises `ConfigError`.

    Args:
        task: the task that the images are of.
        logits: the logits of the merged model, (B, C).
        needed: the other outputs that the objective needs, by name.

    >>> import torch
    >>> outputs = AdaptationOutputs("mnist", torch.zeros(4, 10), {"features": torch.ones(4, 16)})
    >>> outputs.features.shape
    torch.Size([4, 16])
    """

    task: str
    logits: Tensor
    needed: Mapping[Need, Tensor] = field(default_factory=dict)

    @property
    def features(self) -> Tensor:
        """Return the features that the head takes, (B, D)."""
        return self._get("features")

    @property
    def routing_weights(self) -> Tensor:
        """Return the weight of every expert in every block, (B, blocks, T)."""
        return self._get("routing_weights")

    @property
    def images(self) -> Tensor:
        """Return the images as the encoder takes them, (B, 3, H, W)."""
        return self._get("images")

    @property
    def expert_logits(self) -> Tensor:
        """Return the logits of the task's own expert, (B, C), which have no gradients."""
        return self._get("expert_logits")

    @property
    def expert_features(self) -> Tensor:
        """Return the features of the task's own expert, (B, D), which have no gradients."""
        return self._get("expert_features")

    @property
    def expert_shift(self) -> Tensor:
        """Return how much less certain the task's own expert is than on images it knows, (B,).

        It is the mean entropy of its predictions for the first images of the stream, less that for
        the images of `data.compare_with`, divided by log C: the same number for every image.
        """
        return self._get("expert_shift")

    def _get(self, need: Need) -> Tensor:
        if need not in self.needed:
            raise ConfigError(
                f"An objective looks at `outputs.{need}`, which it does not list: add "
                f'"{need}" to the `needs` of its class.'
            )
        return self.needed[need]


def compute_needs(
    model: MultiTaskModel,
    images: Mapping[str, Tensor],
    needs: frozenset[Need],
    teachers: Teachers | None = None,
    encoded: Mapping[str, Encoded] | None = None,
) -> dict[str, dict[str, Tensor]]:
    """Compute the logits of a batch per task, and the other outputs that are needed.

    Args:
        model: the model that is adapted.
        images: the images by task, (B, 3, H, W).
        needs: the outputs to compute in addition to the logits.
        teachers: a function that computes the needed outputs of experts; None if none are needed.
        encoded: the images encoded, with the routing weights that are needed; None to encode them.

    Returns:
        "logits" and every need, each by task.
    """
    if encoded is None:
        encoded = model.encode_tasks(images, with_routing="routing_weights" in needs)
    features = {task: batch.features for task, batch in encoded.items()}
    found: dict[str, dict[str, Tensor]] = {
        "logits": {task: model.head(task)(values) for task, values in features.items()}
    }
    if "features" in needs:
        found["features"] = features
    if "images" in needs:
        found["images"] = dict(images)
    if teachers is not None:
        for need, values in teachers(images).items():
            found[need] = values
    if "routing_weights" in needs:
        weights = {task: batch.routing_weights for task, batch in encoded.items()}
        found["routing_weights"] = {
            t: values for t, values in weights.items() if values is not None
        }
    return found
