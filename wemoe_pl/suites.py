"""A suite = backbone + pretrained weights + experts + heads + tasks."""

import re
import warnings
from dataclasses import dataclass, field

from torch import nn

from wemoe_pl.checkpoints import ENCODER_FILE, Backbone, load_encoder, weights_path
from wemoe_pl.errors import CheckpointError, ConfigError, did_you_mean
from wemoe_pl.files import sha256
from wemoe_pl.heads import HEAD_FILE, ClassificationHead, load_head
from wemoe_pl.tasks import VisionTask


@dataclass(frozen=True)
class Suite:
    """Everything that is given: models of one backbone, and the tasks they are for.

    Args:
        name: what tables call it.
        backbone: the architecture that all encoders share.
        pretrained: file or folder of the pretrained encoder.
        experts: per task, file or folder of its fine-tuned encoder. These are merged.
        heads: per task, file or folder of its classification head.
        note: what every table of the suite must say, such as that its images are rendered.
        tasks: per task, its classes and images. All are scored; those with an expert are adapted.
    """

    name: str
    backbone: Backbone
    pretrained: str
    tasks: dict[str, VisionTask]
    experts: dict[str, str] = field(default_factory=dict)
    heads: dict[str, str] = field(default_factory=dict)
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse names that no task can have, and experts and heads of tasks that are not there."""
        for name in self.tasks:
            check_task_name(name)
        for part in (self.experts, self.heads):
            for name in part:
                self.task(name)

    def task(self, name: str) -> VisionTask:
        """A task by name; `ConfigError` names the nearest one."""
        if name not in self.tasks:
            raise ConfigError(
                f"The suite '{self.name}' has no task '{name}'. {did_you_mean(name, self.tasks)}"
            )
        return self.tasks[name]

    def load_pretrained(self) -> nn.Module:
        """The pretrained encoder."""
        return load_encoder(self.pretrained, self.backbone)

    def load_experts(self) -> dict[str, nn.Module]:
        """The fine-tuned encoders, by task.

        Raises:
            ConfigError: there is none.
        """
        if not self.experts:
            raise ConfigError(
                f"The suite '{self.name}' has no expert: list at least one under `suite.experts`, "
                "as `task: file or folder`."
            )
        return {task: load_encoder(source, self.backbone) for task, source in self.experts.items()}

    def load_head(self, task: str, check_classes: bool = True) -> ClassificationHead:
        """The head of a task, checked against the backbone and the classes of its images.

        Args:
            task: its name.
            check_classes: look at the task's images, which must then be there.
        """
        if task not in self.heads:
            raise ConfigError(
                f"The suite '{self.name}' has no head for '{task}': add `heads: {{{task}: FILE}}`."
            )
        head = load_head(self.heads[task])
        if check_classes:
            self._check_classes(task, head)
        if (width := head.weight.shape[1]) != self.backbone.feature_dim:
            raise CheckpointError(
                f"The head of '{task}' is for {width} features, but '{self.backbone.model}' has "
                f"{self.backbone.feature_dim}: use a head that was made for this backbone."
            )
        return head

    def _check_classes(self, task: str, head: ClassificationHead) -> None:
        classes = self.task(task).classes
        if len(head.classes) != len(classes):
            raise CheckpointError(
                f"The head of '{task}' has {len(head.classes)} classes, but its images have "
                f"{len(classes)}: use a head that was made for them."
            )
        for label, (ours, theirs) in enumerate(zip(head.classes, classes, strict=True)):
            if ours != theirs:
                raise CheckpointError(
                    f"The head of '{task}' names class {label} '{ours}', but its images name it "
                    f"'{theirs}': put the classes in one order."
                )

    def sources(self) -> dict[str, dict[str, str]]:
        """Where each frozen part comes from, with the SHA-256 of its file.

        Warns when two experts are the same file: merging them counts that expert twice.
        """
        named = {"pretrained": (self.pretrained, ENCODER_FILE)}
        named |= {f"experts/{task}": (s, ENCODER_FILE) for task, s in self.experts.items()}
        named |= {f"heads/{task}": (s, HEAD_FILE) for task, s in self.heads.items()}
        sources = {
            part: {"source": source, "sha256": sha256(weights_path(source, name))}
            for part, (source, name) in named.items()
        }
        warn_of_twins({t: sources[f"experts/{t}"]["sha256"] for t in self.experts}, self.experts)
        return sources


def check_task_name(name: str) -> None:
    """Raise `ConfigError` unless `nn.ModuleDict` takes a task of this name, and a shell its file.

    >>> check_task_name("sun397")
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name) or hasattr(nn.ModuleDict(), name):
        raise ConfigError(
            f"'{name}' cannot be the name of a task: use letters, digits, '-' and '_', begin with "
            "a letter or digit, and avoid what PyTorch calls its own, such as 'type' or 'keys'."
        )


def warn_of_twins(digests: dict[str, str], sources: dict[str, str]) -> None:
    """Warn of experts that are one and the same file."""
    first: dict[str, str] = {}
    for task, digest in digests.items():
        twin = first.setdefault(digest, task)
        if twin != task:
            warnings.warn(
                f"The experts of '{twin}' and '{task}' are the same weights ({sources[task]}): "
                "check `suite.experts`, since merging them counts one expert twice.",
                stacklevel=3,
            )
