"""The answers of each task's own expert, for objectives that compare the merged model with them."""

from collections.abc import Mapping

import torch
from torch import Tensor

from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError, did_you_mean
from wemoe_pl.merging import Individual
from wemoe_pl.model.building import build_classifier


class ExpertLogits:
    """Computes the logits of each task's own expert, without gradients.

    It takes the memory of one encoder, in which the experts take turns. It is no module, so that
    nothing of it is trained, kept in checkpoints or sent to other processes.

    Args:
        suite: with the experts and the heads.
        like: a tensor on the device and of the type that the images come in.
    """

    def __init__(self, suite: Suite, like: Tensor):
        self.classifier = build_classifier(suite, Individual(), check_classes=False).to(like)

    @torch.no_grad()
    def __call__(self, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Images (B, 3, H, W) per task → logits (B, C).

        Raises:
            ConfigError: a task has no expert.
        """
        for task in images:
            if task not in self.classifier.tasks:
                raise ConfigError(
                    f"The objective needs the logits of the expert for '{task}', and the suite "
                    f"has none. {did_you_mean(task, self.classifier.tasks)}"
                )
        return self.classifier.forward_tasks(images)
