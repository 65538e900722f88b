"""Build classifiers from a suite: merge its encoders, and put its heads on top."""

from collections.abc import Sequence

from torch import nn

from wemoe_pl.checkpoints.heads import trainable
from wemoe_pl.data.suite import Suite
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.baselines import PerTaskEncoder
from wemoe_pl.model.classifier import MultiTaskClassifier


def build_classifier(
    suite: Suite, merge: MergeMethod, check_classes: bool = True
) -> MultiTaskClassifier:
    """Load the suite's encoders, merge them, and put the suite's heads on top.

    Args:
        suite: the pretrained model, the experts and the tasks.
        merge: the merge method.
        check_classes: True to compare the heads' classes with the images', which must be there.
    """
    return build_classifiers(suite, [merge], check_classes)[0]


def build_classifiers(
    suite: Suite, methods: Sequence[MergeMethod], check_classes: bool = True
) -> list[MultiTaskClassifier]:
    """Build a classifier per merge method from encoders read once; see `build_classifier`."""
    if not methods:
        return []
    pretrained, experts = suite.load_pretrained(), suite.load_experts()
    encoders = [method.merge(pretrained, experts) for method in methods]
    return [
        add_heads(suite, encoder, check_classes, method.trains_heads)
        for encoder, method in zip(encoders, methods, strict=True)
    ]


def add_heads(
    suite: Suite, encoder: nn.Module, check_classes: bool, trains_heads: bool = False
) -> MultiTaskClassifier:
    """Put on an encoder the heads of the tasks that it can do; experts' can be made trainable."""
    tasks = suite.experts if isinstance(encoder, PerTaskEncoder) else suite.tasks
    heads = {task: suite.load_head(task, check_classes) for task in tasks}
    if trains_heads:
        heads |= {task: trainable(heads[task]) for task in suite.experts}
    return MultiTaskClassifier(
        encoder, heads, backbone=suite.backbone, experts=tuple(suite.experts)
    )
