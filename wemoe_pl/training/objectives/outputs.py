"""The outputs of a step of adaptation, as far as an objective needs them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from wemoe_pl.errors import ConfigError
from wemoe_pl.model.multi_task_model import Encoded, MultiTaskModel

Need = Literal["features", "routing_weights", "images", "expert_logits", "expert_features"]
# Of images by task, some needs, each by task.
Teachers = Callable[[Mapping[str, Tensor]], Mapping[Need, dict[str, Tensor]]]


@dataclass(frozen=True, eq=False)
class AdaptationOutputs:
    """The images of one task in one step, and what the model makes of them; labels are no part.

    With several processes it is the batch of all of them. What an objective does not list in its
    `needs` is not computed, and to look at it raises `ConfigError`.

    Args:
        task: the task that the images are of.
        logits: (B, C), of the merged model.
        needed: the rest of what the objective needs, by name.

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
        """Return the features that the head is given, (B, D)."""
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
    """Compute the logits of a batch per task, and what else is needed of it.

    Args:
        model: the one that is adapted.
        images: by task, (B, 3, H, W).
        needs: what to compute beside the logits.
        teachers: compute what is needed of the tasks' own experts, if anything is.
        encoded: the images, if they are encoded already, with whatever of it is needed.

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
