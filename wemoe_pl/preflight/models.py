"""The encoders and heads that a job would read: from where, in which form, and whether they fit."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from rich.markup import escape
from rich.table import Table

from wemoe_pl.checkpoints import (
    ENCODER_FILE,
    LazyState,
    encoder_state,
    hub_request,
    open_weights,
)
from wemoe_pl.checkpoints.encoder import find_tower
from wemoe_pl.evaluate import ScoredModule
from wemoe_pl.heads import ClassificationHead, CosineHead
from wemoe_pl.preflight.findings import Findings
from wemoe_pl.suites import Suite
from wemoe_pl.tasks import ImageFolderTask, PaperTask, ParquetTask, VisionTask

# An expert lies near the model that it was fine-tuned from; two independent ones differ by 1.4.
FAR = 0.5
TO_FETCH = "to fetch"


@dataclass(frozen=True)
class Encoder:
    """The weights of an encoder, of which every number was read once.

    Args:
        source: as the suite names it.
        form: of the file.
        distance: ‖θ − θ₀‖ ÷ ‖θ₀‖, how far it is from the pretrained one; None of that itself.
    """

    source: str
    form: str
    distance: float | None = None


def look_at_encoders(suite: Suite, findings: Findings) -> dict[str, Encoder]:
    """Read the pretrained encoder and the experts, a tensor at a time; nothing is fetched."""
    found: dict[str, Encoder] = {}
    if is_to_fetch(suite.pretrained, ENCODER_FILE):
        return {"pretrained": Encoder(suite.pretrained, TO_FETCH)}
    pretrained: LazyState | None = None
    with findings.listed("pretrained"):
        pretrained = suite.open_pretrained()
        found["pretrained"] = Encoder(suite.pretrained, form_of(suite.pretrained))
        for key in pretrained:
            _ = pretrained[key]  # which refuses numbers that are not finite
    if pretrained is None:
        return found
    for task, source in suite.experts.items():
        if is_to_fetch(source, ENCODER_FILE):
            found[task] = Encoder(source, TO_FETCH)
            continue
        with findings.listed(f"expert of {task}"):
            state = encoder_state(source, suite.backbone, projection=suite.pretrained)
            found[task] = Encoder(source, form_of(source), distance(state, pretrained))
            judge(task, found[task], findings)
    return found


def judge(task: str, expert: Encoder, findings: Findings) -> None:
    """Warn of an expert that was not fine-tuned, or not from the pretrained encoder."""
    assert expert.distance is not None
    if expert.distance == 0:
        findings.warning(
            f"expert of {task}", "It is the pretrained encoder itself, and adds nothing to it."
        )
    elif expert.distance > FAR:
        findings.warning(
            f"expert of {task}",
            f"It differs from the pretrained encoder by {expert.distance:.0%} of its norm: was it "
            "fine-tuned from that one?",
        )


def distance(state: LazyState, pretrained: LazyState) -> float:
    """How far weights are from the pretrained ones, as a share of the norm of those."""
    apart, size = [], []
    for key in pretrained:
        before = pretrained[key].float()
        apart.append(torch.linalg.vector_norm(state[key].float() - before).item())
        size.append(torch.linalg.vector_norm(before).item())
    return math.hypot(*apart) / (math.hypot(*size) or 1.0)


def form_of(source: str) -> str:
    """The form of a file of weights, by its keys."""
    return find_tower(open_weights(source, ENCODER_FILE)).form.name


def is_to_fetch(source: str, own_name: str) -> bool:
    """Is a source on the hub, and not in its cache?"""
    request = hub_request(source, own_name)
    return request is not None and request.cached() is None


def look_at_sources(module: ScoredModule, findings: Findings) -> None:
    """Hash all files of weights as the job would, which warns of experts that are the same."""
    suite = module.frozen_suite
    if suite and not any(is_to_fetch(*source) for source in suite.named_sources().values()):
        with findings.listed("sources"):
            _ = module.frozen_sources


def look_at_head(
    suite: Suite, task: str, check_classes: bool, findings: Findings
) -> tuple[str, ClassificationHead | None]:
    """Where the head of a task is from, in words, and the head itself where it is there.

    Args:
        suite: what the task belongs to.
        task: its name.
        check_classes: compare the head's classes with those of the images, which must be here.
        findings: where problems go.
    """
    head = None
    source, name = suite.named_sources().get(f"heads/{task}", (suite.text_source, ENCODER_FILE))
    if is_to_fetch(source, name):
        return f"{source}, {TO_FETCH}", None
    with findings.listed(f"head of {task}"):
        if task not in suite.heads:
            made = suite.zero_shot_head(task)
            if not made.path.is_file():
                return f"yet to be made, zero-shot, by the text tower of {source}", None
            source = f"zero-shot, by the text tower of {source}"
        head = suite.load_head(task, check_classes)
    return source, head


def described(head: ClassificationHead) -> str:
    """How many classes a head has, and of which kind it is."""
    count = len(head.classes)
    kind = f"cosine, scale {head.logit_scale:g}" if isinstance(head, CosineHead) else "linear"
    return f"{count} class{'' if count == 1 else 'es'}, {kind}"


def order_of(task: VisionTask, classes: Sequence[str]) -> str:
    """Where the names of a task's classes, and their order, are from.

    Args:
        task: the task.
        classes: what it says they are.
    """
    if not classes:
        return "known to the head alone"
    if getattr(task, "class_names", None):
        return "as in `class_names`"
    kinds: dict[type, str] = {
        ImageFolderTask: "by the names of the folders",
        ParquetTask: "as in the label column",
        PaperTask: "as in the paper",
    }
    return kinds.get(type(task), f"as {type(task).__name__} says")


def encoder_table(encoders: Mapping[str, Encoder]) -> Table:
    """A row per encoder."""
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    for title in ("encoder", "source", "form"):
        table.add_column(title, overflow="fold")
    table.add_column("from pretrained", justify="right")
    for name, encoder in encoders.items():
        apart = "" if encoder.distance is None else f"{encoder.distance:.2%}"
        table.add_row(name, escape(encoder.source), encoder.form, apart)
    return table
