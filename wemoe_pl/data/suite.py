"""Define a suite: a backbone, pretrained weights, experts, heads and tasks."""

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
from wemoe_pl.data.preparation_check import warn_of_other_preparation
from wemoe_pl.data.tasks import VisionTask
from wemoe_pl.errors import ConfigError, did_you_mean
from wemoe_pl.system.warn import warn

TEXT_TOWER = "text tower"
TASK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


@dataclass(frozen=True)
class Suite:
    """A suite names the pretrained model, the experts of one backbone, their heads and the tasks.

    Args:
        name: the name of the suite in tables.
        backbone: the architecture that all encoders share.
        pretrained: the file, folder or hub id of the pretrained encoder; see `load_encoder`.
        experts: the file, folder or hub id of each task's fine-tuned encoder, or of a LoRA adapter
            of the pretrained one. These are merged.
        heads: the file or folder of each task's classification head, or of a classifier with one.
        text_tower: the text tower that makes zero-shot heads for the tasks that have no other.
        note: a remark for every table of the suite, such as that its images are rendered.
        tasks: the classes and images of each task. All tasks are scored; tasks with an expert are
            adapted on.
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
        """Refuse invalid task names, experts and heads without a task, and a wrong text tower."""
        for name in (*self.tasks, *self.experts, *self.heads):
            check_is_text(name)
        for name in self.tasks:
            check_task_name(name)
        for name in (*self.experts, *self.heads):
            self.task(name)
        if self.text_tower:
            check_activations(self.backbone, self.text_tower)

    def restricted_to(self, tasks: Collection[str] | None, unseen: Collection[str] = ()) -> "Suite":
        """Return the suite with only the tasks of an experiment.

        Args:
            tasks: the tasks to keep; by default all.
            unseen: the kept tasks whose experts are not merged; they are scored like the others.

        Raises:
            ConfigError: the suite has no such task, or an unseen task is not kept.
        """
        return replace(self, **restriction(self, tasks, unseen))

    def task(self, name: str) -> VisionTask:
        """Return a task by name; raise `ConfigError`, which names the nearest, if it is unknown."""
        check_has_task(self, name)
        return self.tasks[name]

    def load_pretrained(self) -> nn.Module:
        """Return the pretrained encoder."""
        return load_encoder(self.pretrained, self.backbone)

    def open_pretrained(self) -> LazyState:
        """Return the weights of the pretrained encoder, each read when it is asked for."""
        return encoder_state(self.pretrained, self.backbone)

    def load_experts(self) -> dict[str, LazyState]:
        """Return the weights of the experts by task, each read when it is asked for.

        An expert that is a vision tower without a projection gets the pretrained model's
        projection, which fine-tuning did not change.

        Raises:
            ConfigError: the suite has no expert.
        """
        if not self.experts:
            raise ConfigError(
                f"The suite '{self.name}' has no expert: list at least one under `suite.experts`, "
                "as `task: file or folder`."
            )
        return {task: self.open_expert(source) for task, source in self.experts.items()}

    def open_expert(self, source: str) -> LazyState:
        """Return the weights of an expert, each read when it is asked for, given its source."""
        return encoder_state(
            source, self.backbone, projection=self.pretrained, base=self.pretrained
        )

    def load_head(self, task: str, check_classes: bool = True) -> ClassificationHead:
        """Return the head of a task, checked against the backbone and the classes of its images.

        Args:
            task: the name of the task.
            check_classes: True if the classes are checked too; the images must then be there.
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
            ConfigError: there is no text tower to make it, or the classes are not known.
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
        """Return the source of the text tower's weights, by default the pretrained model's."""
        return (self.text_tower and self.text_tower.source) or self.pretrained

    @property
    def tasks_with_made_heads(self) -> list[str]:
        """Return the tasks whose heads the text tower makes."""
        return [task for task in self.tasks if self.text_tower and task not in self.heads]

    def named_sources(self) -> dict[str, tuple[str, str]]:
        """Return the source of every file of weights, and the name of such a file in a folder."""
        named = {"pretrained": (self.pretrained, ENCODER_FILE)}
        named |= {f"experts/{task}": (s, ENCODER_FILE) for task, s in self.experts.items()}
        named |= {f"heads/{task}": (s, HEAD_FILE) for task, s in self.heads.items()}
        if self.tasks_with_made_heads:
            named[TEXT_TOWER] = (self.text_source, ENCODER_FILE)
        return named

    def sources(self) -> dict[str, dict[str, str]]:
        """Return the source of each frozen part, with the SHA-256 of what determines it.

        Warns if two experts have the same weights, or if weights want images prepared otherwise.
        """
        named = {part: n for part, n in self.named_sources().items() if part != TEXT_TOWER}
        warn_of_other_preparation(self.backbone, (self.pretrained, *self.experts.values()))
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
    """Return the fields that `Suite.restricted_to` changes in a suite, or in the config of one."""
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
    """Raise `ConfigError` unless a suite, or the config of one, has a task."""
    if task not in suite.tasks:
        raise ConfigError(
            f"The suite '{suite.name}' has no task '{task}'. {did_you_mean(task, suite.tasks)}"
        )


def check_activations(backbone: Backbone, text_tower: TextTower) -> None:
    """Raise `ConfigError` unless the image and text towers use the same activation function."""
    if text_tower.is_quick != ("quickgelu" in backbone.model):
        raise ConfigError(
            f"The backbone '{backbone.model}' and the text tower '{text_tower.model}' have "
            "different activations: OpenAI's CLIP needs `quickgelu` in both names, other CLIP "
            "models in neither."
        )


def check_is_text(name: object) -> None:
    """Raise `ConfigError` if YAML has read the name of a task as something other than text."""
    if not isinstance(name, str):
        raise ConfigError(
            f"YAML does not read the task name {name!r} as text: put quotes around the name."
        )


def check_task_name(name: str) -> None:
    """Raise `ConfigError` unless a name can be a key of an `nn.ModuleDict` and a plain file name.

    >>> check_task_name("sun397")
    """
    if not TASK_NAME.fullmatch(name) or hasattr(nn.ModuleDict(), name):
        raise ConfigError(
            f"'{name}' cannot be the name of a task: use letters, digits, '-' and '_' (100 at "
            "most), begin with a letter or digit, and avoid names that PyTorch itself uses, such "
            "as 'type' or 'keys'."
        )


def warn_of_twins(digests: dict[str, str], sources: dict[str, str]) -> None:
    """Warn if two experts have the same weights."""
    first: dict[str, str] = {}
    for task, digest in digests.items():
        twin = first.setdefault(digest, task)
        if twin != task:
            warn(
                f"The experts of '{twin}' and '{task}' are the same weights ({sources[task]}): "
                "check `suite.experts`, since merging them counts one expert twice."
            )
