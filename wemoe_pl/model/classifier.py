"""Define the classifier: a multi-task model that is given images, and answers in words."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import get_args

import torch
from torch import Tensor, nn

from wemoe_pl.data.preprocessing import AnyImages, PreparedBatch, Preprocessing, prepared_batches
from wemoe_pl.errors import ConfigError, at_least, did_you_mean
from wemoe_pl.merging.baselines import PerTaskEncoder
from wemoe_pl.merging.folding import folds
from wemoe_pl.model.answering import Question, answers_to, thresholds_by
from wemoe_pl.model.measured import Measured
from wemoe_pl.model.multi_task_model import MultiTaskModel
from wemoe_pl.model.prediction import Prediction
from wemoe_pl.model.specialising import specialised, why_never_plain
from wemoe_pl.model.task_inference import BEST_RULE, InferenceRule, has_entropies
from wemoe_pl.model.torch_defaults import torch_defaults

IMAGES_AT_ONCE = 64  # unless it is said otherwise


class MultiTaskClassifier(MultiTaskModel):
    """A multi-task classifier has an encoder and a head per task: `model(images, task)` → logits.

    `model.predict("photo.png")` answers in words. `predict` and `routing` prepare the images that
    they are given, and move them to the model's device. Other methods take tensors, as modules do.

    Args:
        encoder: the encoder, images (B, 3, H, W) → features (B, D).
        heads: the head of each task, features (B, D) → logits (B, C).
        backbone: the architecture of the encoder, which says how images are prepared for it.
        experts: the names of the merged experts, in the order of the routing weights.

    Attributes:
        measured: the measurements of the run on its test images.
    """

    measured = Measured()

    @cached_property
    def preprocess(self) -> Preprocessing:
        """Return the transform of an image into the input of the encoder, (3, H, W)."""
        return Preprocessing(self.backbone)

    @torch_defaults()
    @torch.inference_mode()
    def predict(
        self,
        images: AnyImages,
        task: str | None = None,
        *,
        top: int = 1,
        rule: InferenceRule = BEST_RULE,
        reject: bool = True,
        batch_size: int = IMAGES_AT_ONCE,
    ) -> list[Prediction]:
        """Classify images, each by the head of its task.

        Args:
            images: an image, or the path of one, of a folder with images below it, or of a parquet
                file, or a pattern; or several of these; or (n, 3, H, W) from `preprocess`.
            task: the task of all images; by default the task of each is inferred.
            top: the number of classes that an answer lists.
            rule: the rule by which tasks are inferred: the "entropy" of the heads' answers, the
                "routing", or the largest "logit" of the tasks that MASS has chosen.
            reject: True to give an image no task if it is unlike all, instead of the nearest one.
            batch_size: the number of images that are in memory at once.

        Returns:
            One answer per image; images of a folder are in the order of their paths.

        Raises:
            WeMoEError: there is no such image or task, or the model cannot infer tasks.
        """
        at_least(1, "top", top)
        tasks = self.tasks if task is None else [task]
        choose_by = rule if len(tasks) > 1 else None
        return [
            prediction._replace(image=name)
            for names, batch in self.batches(images, batch_size)
            for name, [prediction] in zip(
                names, self.answer(batch, tasks, choose_by, top, reject), strict=True
            )
        ]

    def answer(
        self,
        images: Tensor,
        tasks: Sequence[str],
        rule: InferenceRule | None,
        top: int = 1,
        reject: bool = True,
    ) -> list[list[Prediction]]:
        """Return for each image of (B, 3, H, W) an answer per task, or by a rule a single one."""
        if rule is not None:
            self.check_rule(rule)
        least = thresholds_by(rule, self.measured.thresholds) if rule is not None and reject else {}
        asked = tasks if rule is None else [None]
        questions = [Question(i, task, top, least) for i in range(len(images)) for task in asked]
        found = answers_to(questions, self, images, tasks, rule)
        return [found[start : start + len(asked)] for start in range(0, len(found), len(asked))]

    def check_rule(self, rule: InferenceRule) -> None:
        """Raise `ConfigError` if the model cannot infer tasks by a rule."""
        if why_not := hindrance(self, rule):
            raise ConfigError(why_not)

    @torch_defaults()
    @torch.inference_mode()
    def routing(self, images: AnyImages, batch_size: int = IMAGES_AT_ONCE) -> dict[str, Tensor]:
        """Return the routing weights of images for each expert, (n, blocks), by its name.

        They need not be shares: they are coefficients of task vectors of any sum and sign, see
        `Router`.

        Args:
            images: the same as for `predict`.
            batch_size: the number of images that are in memory at once.

        Raises:
            ConfigError: the model has no routers.
        """
        by_expert = routing_of(self, images, batch_size).unbind(dim=-1)
        return dict(zip(self.experts, by_expert, strict=True))

    def specialise(self, task: str, images: AnyImages | None = None) -> nn.Module:
        """Return a plain classifier of one task: a timm encoder with its head, images → logits.

        It costs as much as the pretrained encoder. The mixtures of WEMoE are folded with the mean
        routing weights of the task, so its answers may differ from this model's.

        Args:
            task: the task of all images that it will see, each prepared by `preprocess`.
            images: some images of the task, as for `predict`, to take the mean over; by default it
                is the mean over the test images, as the run has kept it. Only WEMoE reads them.

        Raises:
            WeMoEError: there is no such task, its routing is not known, or the model has no weights
                that are the same for all images of a task.
        """
        return specialised(self, task, mean_routing_of(self, task, images))

    def batches(self, images: AnyImages, batch_size: int) -> Iterator[PreparedBatch]:
        """Yield images, as `predict` takes them, as named batches on the model's device."""
        at_least(1, "batch_size", batch_size)
        weight = next(self.parameters())
        for names, batch in prepared_batches(images, self.preprocess, batch_size):
            yield PreparedBatch(names, batch.to(weight))

    def __repr__(self) -> str:
        """Describe the classifier, and how it is used."""
        return description_of(self)


def routing_of(model: MultiTaskClassifier, images: AnyImages, batch_size: int) -> Tensor:
    """Return the routing weights of images, (n, blocks, T); `ConfigError` without routers."""
    if not model.routed:
        raise ConfigError("This model has no routers: its weights are the same for every image.")
    weights = []
    with model.recorded_routing():
        for _, batch in model.batches(images, batch_size):
            model.encode(batch)
            weights.append(torch.stack(model.routing_weights, dim=1))
    return torch.cat(weights).float()


def mean_routing_of(
    model: MultiTaskClassifier, task: str, images: AnyImages | None
) -> Tensor | None:
    """Return the mean routing weights of a task's images, (blocks, T); None if all have the same.

    Raises:
        ConfigError: there is no such task, no images are given and the run has kept no mean, or the
            routing weights of the images are not finite.
    """
    model.head(task)
    if not model.mixtures or folds(model.encoder):
        return None
    if images is not None:
        mean = routing_of(model, images, IMAGES_AT_ONCE).mean(dim=0)
        if not mean.isfinite().all():
            raise ConfigError(
                "The routing weights of the given images are not finite, so nothing can be folded "
                "with them: check that the images have no NaN."
            )
        return mean
    if task not in model.measured.mean_routing:
        raise ConfigError(
            f"The model does not know how images of '{task}' are routed: give some images of this "
            f"task, specialise('{task}', images), or score the run with this version of wemoe-pl, "
            "which keeps their mean routing weights in results and exports."
        )
    return torch.tensor(model.measured.mean_routing[task])


def check_can_specialise(model: MultiTaskClassifier) -> None:
    """Raise `ConfigError` unless there is a plain model of each task, which differs from the model.

    The mean routing weights of each task must be known.
    """
    if why_not := why_never_plain(model):
        raise ConfigError(why_not)
    if not model.mixtures:
        raise ConfigError(
            "This model has no routers, so it is as plain for one task as for all: nothing is "
            "gained by specialising it."
        )
    for task in model.tasks:
        mean_routing_of(model, task, None)


def description_of(model: MultiTaskClassifier) -> str:
    """Describe a classifier, and how it is used."""
    weight = next(model.parameters())
    place = f"{str(weight.dtype).removeprefix('torch.')} on {weight.device}"
    size = sum(p.numel() for p in model.encoder.parameters())
    classes = ", ".join(f"{task} ({number})" for task, number in model.num_classes.items())
    lines = [
        f"MultiTaskClassifier: {model.backbone.model}, {size:,} parameters, {place}",
        f"  {merged_in_words(model)}",
        f"  tasks (classes): {classes}",
        '  model.predict("photo.png") names task and class',
        f'  model(images, "{model.tasks[0]}") gives the logits of images from model.preprocess',
    ]
    return "\n".join(lines)


def merged_in_words(model: MultiTaskClassifier) -> str:
    """Say how the experts of a classifier are merged."""
    names = ", ".join(model.experts)
    if model.mixtures:
        return f"{len(model.mixtures)} mixtures of {names}"
    if model.chooses_experts:
        return f"weights that are merged for every image from some of {names}"
    return "one set of weights for all images"


def hindrance(model: MultiTaskClassifier, rule: InferenceRule) -> str:
    """Say why a model cannot infer tasks by a rule; return an empty text if it can."""
    rules = get_args(InferenceRule)
    if rule not in rules:
        return f"There is no rule '{rule}'. {did_you_mean(rule, rules)}"
    if isinstance(model.encoder, PerTaskEncoder):
        return "This model has an encoder per task: say which task the images are of."
    if rule == "routing" and not model.routed:
        return "This model has no routers to infer the task by: use the rule 'entropy'."
    if rule == "logit" and not model.chooses_experts:
        return (
            "The rule 'logit' compares the tasks that an image was routed to, and this model "
            "routes to all or to none: use the rule 'entropy'."
        )
    if rule == "entropy" and not has_entropies(model.num_classes):
        single = min(model.num_classes, key=lambda task: model.num_classes[task])
        return (
            f"The task '{single}' has one class, so its head is certain about any image: "
            "say which task the images are of"
            + (", or infer it by the rule 'routing'." if model.routed else ".")
        )
    return ""


def rules_of(model: MultiTaskClassifier) -> list[InferenceRule]:
    """Return the rules by which a model can infer tasks."""
    rules: tuple[InferenceRule, ...] = get_args(InferenceRule)
    return [rule for rule in rules if not hindrance(model, rule)]
