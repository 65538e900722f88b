"""A suite = backbone + pretrained weights + experts + heads + tasks."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from torch import nn

from wemoe_pl.checkpoints import (
    ENCODER_FILE,
    Backbone,
    LazyState,
    encoder_state,
    fingerprint,
    load_encoder,
)
from wemoe_pl.checkpoints.heads import HEAD_FILE, ClassificationHead, load_head
from wemoe_pl.checkpoints.zero_shot import TextTower, ZeroShotHead
from wemoe_pl.data.head_checks import check_classes_of_head, check_width, classes_of_head
from wemoe_pl.data.tasks import VisionTask
from wemoe_pl.errors import ConfigError, did_you_mean
from wemoe_pl.system.warn import warn

TEXT_TOWER = "text tower"
TASK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


@dataclass(frozen=True)
class Suite:
    """Everything that is given: models of one backbone, and the tasks they are for.

    Args:
        name: what tables call it.
        backbone: the architecture that all encoders share.
        pretrained: file, folder or hub id of the pretrained encoder; see `load_encoder`.
        experts: per task, the same of its fine-tuned encoder. These are merged.
        heads: per task, file or folder of its classification head, or a classifier with one.
        text_tower: makes zero-shot heads for the tasks that have no other.
        note: what every table of the suite must say, such as that its images are rendered.
        tasks: per task, its classes and images. All are scored; those with an expert are adapted.
    """

    name: str
    backbone: Backbone
    pretrained: str
    tasks: dict[str, VisionTask]
    experts: dict[str, str] = field(default_factory=dict)
    heads: dict[str, str] = field(default_factory=dict)
    text_tower: TextTower | None = None
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse names that no task can have, and experts and heads of tasks that are not there."""
        for name in (*self.tasks, *self.experts, *self.heads):
            check_is_text(name)
        for name in self.tasks:
            check_task_name(name)
        for name in (*self.experts, *self.heads):
            self.task(name)
        if self.text_tower:
            check_activations(self.backbone, self.text_tower)

    def restricted_to(self, tasks: Collection[str] | None, unseen: Collection[str] = ()) -> "Suite":
        """The part of the suite that an experiment is about.

        Args:
            tasks: those that it has; by default all.
            unseen: of these, tasks whose experts are not merged, but which are scored all the same.

        Raises:
            ConfigError: a name is none of the tasks.
        """
        return replace(self, **restriction(self, tasks, unseen))

    def task(self, name: str) -> VisionTask:
        """A task by name; `ConfigError` names the nearest one."""
        check_has_task(self, name)
        return self.tasks[name]

    def load_pretrained(self) -> nn.Module:
        """The pretrained encoder."""
        return load_encoder(self.pretrained, self.backbone)

    def open_pretrained(self) -> LazyState:
        """The weights of the pretrained encoder, read when asked for."""
        return encoder_state(self.pretrained, self.backbone)

    def load_experts(self) -> dict[str, LazyState]:
        """The weights of the fine-tuned encoders, by task, read when asked for.

        A vision tower without a projection gets the pretrained model's, which its fine-tuning
        left as it was.

        Raises:
            ConfigError: there is none.
        """
        if not self.experts:
            raise ConfigError(
                f"The suite '{self.name}' has no expert: list at least one under `suite.experts`, "
                "as `task: file or folder`."
            )
        return {
            task: encoder_state(source, self.backbone, projection=self.pretrained)
            for task, source in self.experts.items()
        }

    def load_head(self, task: str, check_classes: bool = True) -> ClassificationHead:
        """The head of a task, checked against the backbone and the classes of its images.

        Args:
            task: its name.
            check_classes: look at the task's images, which must then be there.
        """
        if task in self.heads:
            head = load_head(self.heads[task], partial(classes_of_head, task, self.task(task)))
        else:
            head = self.zero_shot_head(task).load(task)
        if check_classes:
            check_classes_of_head(task, head.classes, self.task(task).classes)
        check_width(task, head, self.backbone)
        return head

    def zero_shot_head(self, task: str) -> ZeroShotHead:
        """Return the recipe of the zero-shot head of a task that has no head of its own.

        Raises:
            ConfigError: there is no text tower to make it.
        """
        if self.text_tower is None:
            raise ConfigError(
                f"The suite '{self.name}' has no head for '{task}': add `heads: {{{task}: FILE}}`, "
                "or a `text_tower` to make it from the class names."
            )
        own = self.task(task)
        if not own.classes:
            raise ConfigError(
                f"The classes of '{task}' are not known: give them as the task's `class_names`."
            )
        return ZeroShotHead(self.text_tower, self.text_source, own.classes, own.prompts)

    @property
    def text_source(self) -> str:
        """The weights of the text tower: by default those of the pretrained model."""
        return (self.text_tower and self.text_tower.source) or self.pretrained

    @property
    def tasks_with_made_heads(self) -> list[str]:
        """The tasks whose heads the text tower makes."""
        return [task for task in self.tasks if self.text_tower and task not in self.heads]

    def named_sources(self) -> dict[str, tuple[str, str]]:
        """The source of every file of weights, with what `wemoe-pl` calls such a file."""
        named = {"pretrained": (self.pretrained, ENCODER_FILE)}
        named |= {f"experts/{task}": (s, ENCODER_FILE) for task, s in self.experts.items()}
        named |= {f"heads/{task}": (s, HEAD_FILE) for task, s in self.heads.items()}
        if self.tasks_with_made_heads:
            named[TEXT_TOWER] = (self.text_source, ENCODER_FILE)
        return named

    def sources(self) -> dict[str, dict[str, str]]:
        """Return the source of each frozen part, with the SHA-256 of what determines it.

        Warns when two experts are the same file: merging them counts that expert twice.
        """
        named = self.named_sources()
        named.pop(TEXT_TOWER, None)
        sources = {p: {"source": s, "sha256": fingerprint(s, n)} for p, (s, n) in named.items()}
        for task in self.tasks_with_made_heads:
            head = self.zero_shot_head(task)
            origin = f"zero-shot, by {head.source}"
            sources[f"heads/{task}"] = {"source": origin, "sha256": head.digest}
        warn_of_twins({t: sources[f"experts/{t}"]["sha256"] for t in self.experts}, self.experts)
        return sources


def restriction(
    suite: Any, tasks: Collection[str] | None, unseen: Collection[str]
) -> dict[str, Any]:
    """Return the changes that `Suite.restricted_to` makes, to a suite or to the config of one."""
    kept = suite.tasks if tasks is None else tasks
    for task in kept:
        check_has_task(suite, task)
    for task in unseen:
        if task not in kept:
            raise ConfigError(
                f"'{task}' cannot be unseen: it is none of the tasks. {did_you_mean(task, kept)}"
            )
    return {
        "tasks": {task: suite.tasks[task] for task in kept},
        "experts": {t: e for t, e in suite.experts.items() if t in kept and t not in unseen},
        "heads": {t: h for t, h in suite.heads.items() if t in kept},
    }


def check_has_task(suite: Any, task: str) -> None:
    """Raise `ConfigError` for a task that a suite, or the settings of one, does not have."""
    if task not in suite.tasks:
        raise ConfigError(
            f"The suite '{suite.name}' has no task '{task}'. {did_you_mean(task, suite.tasks)}"
        )


def check_activations(backbone: Backbone, text_tower: TextTower) -> None:
    """Raise `ConfigError` unless the images and texts of a CLIP model have one activation."""
    if text_tower.is_quick != ("quickgelu" in backbone.model):
        raise ConfigError(
            f"The backbone '{backbone.model}' and the text tower '{text_tower.model}' have "
            "different activations: OpenAI's CLIP needs `quickgelu` in both names, other CLIP "
            "models in neither."
        )


def check_is_text(name: object) -> None:
    """Raise `ConfigError` for the name of a task that YAML has taken for something else."""
    if not isinstance(name, str):
        raise ConfigError(f"The task {name!r} is no text to YAML: put quotes around its name.")


def check_task_name(name: str) -> None:
    """Raise `ConfigError` unless `nn.ModuleDict` takes a task of this name, and a shell its file.

    >>> check_task_name("sun397")
    """
    if not TASK_NAME.fullmatch(name) or hasattr(nn.ModuleDict(), name):
        raise ConfigError(
            f"'{name}' cannot be the name of a task: use letters, digits, '-' and '_' (100 at "
            "most), begin with a letter or digit, and avoid what PyTorch calls its own, such as "
            "'type' or 'keys'."
        )


def warn_of_twins(digests: dict[str, str], sources: dict[str, str]) -> None:
    """Warn of experts that are one and the same file."""
    first: dict[str, str] = {}
    for task, digest in digests.items():
        twin = first.setdefault(digest, task)
        if twin != task:
            warn(
                f"The experts of '{twin}' and '{task}' are the same weights ({sources[task]}): "
                "check `suite.experts`, since merging them counts one expert twice."
            )
