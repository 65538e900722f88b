"""Look at the encoders and heads that a job would read: their sources, forms and faults."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from wemoe_pl.checkpoints import (
    ENCODER_FILE,
    LazyState,
    adapter_config,
    fingerprint,
    hub_request,
    open_weights,
    weight_files,
)
from wemoe_pl.checkpoints.heads import HEAD_FILE, ClassificationHead, CosineHead
from wemoe_pl.checkpoints.lora_config import LoRAConfig
from wemoe_pl.checkpoints.tower import find_tower
from wemoe_pl.checkpoints.zero_shot import TextTower
from wemoe_pl.data.suite import Suite, warn_of_twins
from wemoe_pl.data.tasks import ImageFolderTask, PaperTask, ParquetTask, VisionTask
from wemoe_pl.merging.expert_check import MeasuredState, remark
from wemoe_pl.preflight.findings import Findings
from wemoe_pl.system.disk_space import size_in_words


@dataclass(frozen=True)
class Encoder:
    """An `Encoder` describes an encoder that a job would read.

    Args:
        source: the source of the encoder, as the suite names it.
        form: the name of the form of its file, or a note that it has to be fetched.
        distance: ‖θ − θ₀‖ ÷ ‖θ₀‖ from the pretrained encoder; None for the pretrained encoder
            itself, and where it was not measured.
    """

    source: str
    form: str
    distance: float | None = None


def look_at_encoders(suite: Suite, findings: Findings) -> dict[str, Encoder]:
    """Read the pretrained encoder and the experts, a tensor at a time, without fetching any."""
    found: dict[str, Encoder] = {}
    pretrained: LazyState | None = None
    with findings.listed("pretrained"):
        if waiting := to_fetch(suite.pretrained, findings):
            found["pretrained"] = waiting
        else:
            pretrained = suite.open_pretrained()
            found["pretrained"] = Encoder(suite.pretrained, form_name(suite.pretrained))
            for key in pretrained:
                _ = pretrained[key]  # reading raises for numbers that are not finite
    digests = {}
    for task, source in suite.experts.items():
        with findings.listed(f"expert of {task}"):
            if waiting := to_fetch(source, findings):
                found[task] = waiting
            elif pretrained is None:  # some experts take their projection from it
                found[task] = Encoder(source, form_name(source))
            else:
                state = suite.open_expert(source)
                apart = distance(state, pretrained)
                found[task] = Encoder(source, form_name(source), apart)
                if sentence := remark("It", apart):
                    findings.warning(f"expert of {task}", sentence)
                digests[task] = fingerprint(source, ENCODER_FILE)
    with findings.listed("experts"):
        warn_of_twins(digests, suite.experts)
    return found


def to_fetch(source: str, findings: Findings) -> Encoder | None:
    """Return a description of an encoder that has yet to be fetched; None for any other."""
    size = findings.size_to_fetch(hub_request(source, ENCODER_FILE))
    return Encoder(source, f"to fetch, {size_in_words(size)}") if size else None


def distance(state: LazyState, pretrained: LazyState) -> float:
    """Read all weights, and return their distance ‖θ − θ₀‖ ÷ ‖θ₀‖ from the pretrained ones."""
    found: list[float] = []
    measured_state = MeasuredState(state, pretrained, found.append)
    for key in pretrained:
        _ = measured_state[key]
    return found[0]


def form_name(source: str) -> str:
    """Return the name of the form of a file of weights, which its keys tell."""
    if config := adapter_config(weight_files(source, ENCODER_FILE)):
        return f"LoRA of rank {LoRAConfig.read(config).rank}"
    return find_tower(open_weights(source, ENCODER_FILE)).form.name


def look_at_head(
    suite: Suite, task: str, check_classes: bool, findings: Findings
) -> tuple[str, ClassificationHead | None]:
    """Describe the source of the head of a task, and load the head if it is on this machine.

    Args:
        suite: the suite that the task belongs to.
        task: the name of the task.
        check_classes: True to compare the head's classes with those of the task's images, which
            must be on this machine.
        findings: the list that problems are added to.
    """
    source = suite.heads.get(task)
    if source is None and suite.text_tower is not None:
        return look_at_made_head(suite, task, suite.text_tower, check_classes, findings)
    with findings.listed(f"head of {task}"):
        if size := findings.size_to_fetch(hub_request(source or "", HEAD_FILE)):
            return f"{source}, to fetch, {size_in_words(size)}", None
        return source or "", suite.load_head(task, check_classes)
    return source or "none", None


def look_at_made_head(
    suite: Suite, task: str, tower: TextTower, check_classes: bool, findings: Findings
) -> tuple[str, ClassificationHead | None]:
    """Describe the source of a head that the text tower makes, and load it if it is cached."""
    source = f"zero-shot, by the text tower of {suite.text_source}"
    with findings.listed("text tower"):  # tasks share it: its problem is listed once
        if size := findings.size_to_fetch(hub_request(suite.text_source, ENCODER_FILE)):
            return f"{source}, to fetch, {size_in_words(size)}", None
        tower.check(suite.text_source)
        with findings.listed(f"head of {task}"):
            if suite.zero_shot_head(task).path.is_file():
                return source, suite.load_head(task, check_classes)
            return f"{source}, which a job or `wemoe-pl prepare` makes", None
    return source, None


def described(head: ClassificationHead) -> str:
    """Describe a head in words: its number of classes and its kind."""
    count = len(head.classes)
    kind = f"cosine, scale {head.logit_scale:g}" if isinstance(head, CosineHead) else "linear"
    return f"{count} class{'' if count == 1 else 'es'}, {kind}"


def order_of(task: VisionTask, classes: Sequence[str]) -> str:
    """Describe where the names and the order of a task's classes come from.

    Args:
        task: the task.
        classes: the task's classes; empty if only its head knows them.
    """
    if not classes:
        return "known only to the head"
    if getattr(task, "class_names", None):
        return "as in `class_names`"
    kinds: dict[type, str] = {
        ImageFolderTask: "by the names of the folders",
        ParquetTask: "as in the label column",
        PaperTask: "as in the paper",
    }
    return kinds.get(type(task), f"as {type(task).__name__} says")


def encoder_table(encoders: Mapping[str, Encoder]) -> Table:
    """Make a table with a row per encoder."""
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column("encoder", overflow="fold")
    table.add_column("form")
    table.add_column("from pretrained", justify="right")
    table.add_column("source", overflow="fold")
    for name, encoder in encoders.items():
        apart = "" if encoder.distance is None else f"{encoder.distance:.2%}"
        table.add_row(name, encoder.form, apart, encoder.source)
    return table
