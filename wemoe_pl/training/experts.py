"""Compute the answers of each task's own expert, with which a merged model is compared."""

import math
from collections import defaultdict
from collections.abc import Collection, Mapping

import lightning as L
import torch
from torch import Tensor

from wemoe_pl.data.origins import Origins
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.vision_data import VisionData
from wemoe_pl.errors import ConfigError, did_you_mean
from wemoe_pl.merging.baselines import Individual
from wemoe_pl.model.building import build_classifier
from wemoe_pl.model.classifier import MultiTaskClassifier
from wemoe_pl.model.entropy import mean_entropy
from wemoe_pl.training.objectives.outputs import Need

# The names by which an objective asks for the outputs of experts.
EXPERT_LOGITS: Need = "expert_logits"
EXPERT_FEATURES: Need = "expert_features"
EXPERT_SHIFT: Need = "expert_shift"
PER_IMAGE = frozenset({EXPERT_LOGITS, EXPERT_FEATURES})
OF_EXPERTS = PER_IMAGE | {EXPERT_SHIFT}
JUDGED_IMAGES = 128  # of every task: the standard error of a mean entropy is then about 0.01 log C
SHOWN_AT_ONCE = 64  # images that an expert is shown to be judged


class ExpertAnswers:
    """`ExpertAnswers` computes, without gradients, and keeps the outputs of each task's own expert.

    An image whose place in its set is known is shown to its expert only once. The outputs are kept
    in main memory, in the precision in which they were computed. In single precision, those for all
    test images of the paper's eight tasks are 43 MB of logits (SUN397 alone has 32 MB) and 179 MB
    (ViT-B) or 269 MB (ViT-L) of features. Those for 1000 steps with 16 images per task are 37 MB of
    logits, and 151 or 226 MB of features. Each process keeps the outputs of its own images. Other
    images are shown to their expert every time.

    The experts take turns in the memory of one encoder, which is built for the first image. The
    cache is no `nn.Module`, so nothing of it is trained, saved in checkpoints or sent to other
    processes.

    Args:
        suite: the suite with the experts and the heads.
        like: a tensor with the device and the type of the images.
        origins: the record by which images are recognised; none are without it.
        wanted: the outputs to compute, any of `OF_EXPERTS`.

    Attributes:
        shift: the loss of certainty of each judged expert about the stream; see `judge`.
    """

    def __init__(
        self,
        suite: Suite,
        like: Tensor,
        origins: Origins | None = None,
        wanted: Collection[Need] = (EXPERT_LOGITS,),
    ):
        self.suite = suite
        self.origins = origins or Origins()
        self.wanted = sorted(PER_IMAGE.intersection(wanted))
        self.shift: dict[str, float] = {}
        self._like = like
        self._experts: MultiTaskClassifier | None = None
        # The outputs by (task, set of images), then by the place of the image in the set.
        self._kept: dict[tuple[str, str], dict[int, dict[Need, Tensor]]] = defaultdict(dict)

    @property
    def experts(self) -> MultiTaskClassifier:
        """Return the classifier in which each expert answers for its own task."""
        if self._experts is None:
            with torch.random.fork_rng(devices=[]):  # a new model draws weights before it loads any
                experts = build_classifier(self.suite, Individual(), check_classes=False)
            self._experts = experts.to(self._like)
        return self._experts

    def let_go(self) -> None:
        """Free the memory of the experts; the next image that they have not seen rebuilds them."""
        self._experts = None

    def __call__(self, images: Mapping[str, Tensor]) -> dict[Need, dict[str, Tensor]]:
        """Return the wanted outputs, each per task, for images (B, 3, H, W) per task.

        Raises:
            ConfigError: a task has no expert.
        """
        for task in images:
            if task not in self.suite.experts:
                raise ConfigError(
                    f"The objective compares with the expert for '{task}', but the suite has none. "
                    f"{did_you_mean(task, self.suite.experts)}"
                )
        answers = {task: self.of_task(task, batch) for task, batch in images.items()}
        found = {need: {task: own[need] for task, own in answers.items()} for need in self.wanted}
        if self.shift:
            found[EXPERT_SHIFT] = {
                task: batch.new_full((len(batch),), self.shift[task])
                for task, batch in images.items()
            }
        return found

    def judge(self, streamed: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> None:
        """Find out how much less certain each expert is about streamed images than known ones.

        Args:
            streamed: images of the stream, (N, 3, H, W), by task.
            known: images that the experts should be certain about, (N, 3, H, W), by task.
        """
        for task, images in streamed.items():
            self.shift[task] = self.uncertainty(task, images) - self.uncertainty(task, known[task])

    @torch.no_grad()
    def uncertainty(self, task: str, images: Tensor) -> float:
        """Return the mean entropy of an expert's predictions, divided by log C: from 0 to 1."""
        head = self.experts.head(task)
        batches = images.to(self._like).split(SHOWN_AT_ONCE)
        logits = torch.cat([head(self.experts.encode(batch, task)) for batch in batches])
        return mean_entropy(logits.float()).item() / math.log(max(2, logits.shape[1]))

    def classes(self, task: str, images: Tensor) -> Tensor | None:
        """Return the classes that a task's expert predicts, (B,); None if it has no expert."""
        if task not in self.suite.experts:
            return None
        return self.of_task(task, images)[EXPERT_LOGITS].argmax(dim=-1)

    def of_task(self, task: str, images: Tensor) -> dict[Need, Tensor]:
        """Return the wanted outputs for images (B, 3, H, W) of one task, kept ones if possible."""
        seen = self.origins.of(images)
        if seen is None:
            return self.ask(task, images)
        kept = self._kept[task, seen.name]
        new = {place: row for row, place in enumerate(seen.places) if place not in kept}
        if new:
            answers = self.ask(task, images[list(new.values())])
            of_new = {need: values.cpu() for need, values in answers.items()}
            for row, place in enumerate(new):
                kept[place] = {need: values[row] for need, values in of_new.items()}
        rows = [kept[place] for place in seen.places]
        return {n: torch.stack([row[n] for row in rows]).to(images.device) for n in self.wanted}

    @torch.no_grad()
    def ask(self, task: str, images: Tensor) -> dict[Need, Tensor]:
        """Compute the wanted outputs by showing images (B, 3, H, W) to the expert of their task."""
        features = self.experts.encode(images, task)
        answers = {EXPERT_FEATURES: features}
        if EXPERT_LOGITS in self.wanted:
            answers[EXPERT_LOGITS] = self.experts.head(task)(features)
        return {need: answers[need] for need in self.wanted}


def origins_of(trainer: L.Trainer) -> Origins:
    """Return the origins that a trainer's data records; empty ones unless it is a `VisionData`."""
    data = getattr(trainer, "datamodule", None)
    return data.origins if isinstance(data, VisionData) else Origins()
