"""Run `wemoe-pl check`: read all that a job would read, part by part, and list what is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from lightning import Trainer

from wemoe_pl.callbacks.collapse_guard import check_validates
from wemoe_pl.data.vision_data import VisionData
from wemoe_pl.errors import ConfigError, WeMoEError
from wemoe_pl.merging.from_samples import SampleMethod
from wemoe_pl.merging.spelling import spelled
from wemoe_pl.preflight.findings import Findings
from wemoe_pl.preflight.folder import check_writable, state_in_words, what_then
from wemoe_pl.preflight.images import CountedTask, class_table, look_at_images
from wemoe_pl.preflight.memory import encoder_of, estimate, free_bytes
from wemoe_pl.preflight.models import (
    described,
    encoder_table,
    look_at_encoders,
    look_at_head,
    order_of,
)
from wemoe_pl.preflight.printing import memory_facts, print_findings, print_part
from wemoe_pl.preflight.settings import check_devices, check_fit, number_of
from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.runs.identity import Identity
from wemoe_pl.runs.meant_run import Meant, meant_run
from wemoe_pl.runs.partial import check_limits
from wemoe_pl.runs.start import Start, compare_with_start, find_start
from wemoe_pl.system.console import Console
from wemoe_pl.system.disk_space import size_in_words
from wemoe_pl.system.files import digest
from wemoe_pl.training.adapt import TestTimeAdaptation
from wemoe_pl.training.finetune import ExpertFineTuning
from wemoe_pl.training.initialising import check_compares
from wemoe_pl.training.merged_module import MergedModule
from wemoe_pl.training.module import MultiTaskModule
from wemoe_pl.training.optimization import count_steps

DTYPES = {"bf16-true": torch.bfloat16, "16-true": torch.float16, "64-true": torch.float64}


@dataclass(frozen=True)
class Job:
    """A `Job` describes a job that is checked but not run.

    Args:
        module: the job's model, not built.
        data: the job's images, not read.
        trainer: a trainer with the job's settings, on a CPU.
        recipe: the resolved config, as it was given.
        configs: the names of the configs that the job comes from.
        is_out_given: True if the command line names the output folder, not only a config.
        is_checkpoint_given: True if the command line names the checkpoint to use.
        full: True to print all classes of all tasks.
    """

    module: MultiTaskModule
    data: VisionData
    trainer: Trainer
    recipe: dict[str, Any]
    configs: Sequence[str] = ()
    is_out_given: bool = False
    is_checkpoint_given: bool = False
    full: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """Return the settings of the trainer, as they were given."""
        return dict(self.recipe["trainer"])

    @property
    def processes(self) -> int:
        """Return the number of processes that share a step.

        If the number of devices is left to Lightning, one device per node is assumed.
        """
        return self.settings["num_nodes"] * (number_of(self.settings["devices"]) or 1)

    @cached_property
    def fits(self) -> bool:
        """Return whether the job fits its model; otherwise it only scores it."""
        module = self.module
        if not isinstance(module, MergedModule) or isinstance(module.merge, SampleMethod):
            return True
        try:
            return any(p.requires_grad for p in encoder_of(module).parameters())
        except WeMoEError:  # `print_memory` builds the encoder too, and lists this error
            return True

    @property
    def command(self) -> Literal["fit", "test"]:
        """Return the name of the command that would run the job."""
        return "fit" if self.fits else "test"

    @cached_property
    def meant(self) -> Meant:
        """Return the output folder and the checkpoint that the job itself would choose."""
        given = self.is_out_given, self.is_checkpoint_given
        return meant_run(self.command, self.configs, self.recipe, *given)

    @property
    def identity(self) -> Identity:
        """Return the identity of the run; its weights and images must have been read before."""
        scored = None if self.fits else self.meant.checkpoint
        return Identity(
            command=self.command,
            recipe=self.recipe,
            sources=self.module.frozen_sources,
            images=self.data.sets.identities(self.command),
            checkpoint=None if scored is None else digest(scored),
        )

    @property
    def needs_labels(self) -> bool:
        """Return whether all images that the job learns from must have labels."""
        method = getattr(self.module, "merge", None)
        by_method = isinstance(method, SampleMethod) and method.needs_labels
        return self.module.needs_labels or by_method

    @property
    def tasks_with_heads(self) -> list[str]:
        """Return the tasks whose heads the job reads; fine-tuning may make its heads instead."""
        suite, module = self.module.frozen_suite, self.module
        makes_own = isinstance(module, ExpertFineTuning) and not module.takes_head
        return [] if suite is None or makes_own else list(suite.tasks)


def preflight(job: Job, console: Console, quiet: bool = False) -> None:
    """Print what a job would read and write, and how much memory it would take.

    The check writes to caches only. It fetches nothing from the hub and merges no weights.

    Args:
        job: the job.
        console: the console that the findings are printed to.
        quiet: True to print only what is wrong.

    Raises:
        ConfigError: the job could not start; every problem was printed.
    """
    findings, parts = Findings(), Console(quiet=True) if quiet else console
    start = print_job(job, parts, findings)
    print_models(job, parts, findings)
    print_tasks(job, parts, findings)
    if start is not None and not (findings.problems or findings.waiting):
        with findings.listed("out"):
            compare_with_start(start, job.identity)
    print_memory(job, parts, findings)
    print_findings(console, findings, quiet)
    if count := len(findings.problems):
        problems = "1 problem keeps" if count == 1 else f"{count} problems keep"
        raise ConfigError(f"{problems} this job from starting.")


def print_job(job: Job, console: Console, findings: Findings) -> Start | None:
    """Print what would run on which devices, and the folder it would write to; return its start.

    The start says how the job would begin in that folder; None if that could not be found out.
    """
    settings, start = job.settings, None
    facts = {
        "suite": job.module.suite.name,
        "method": spelled(job.module.method),
        "command": "fit" if job.fits else "test, since a static merge has nothing to adapt",
        "steps": str(settings["max_steps"]) if job.fits else "",
        "devices": f"{settings['accelerator']}, {settings['devices']}",
    }
    with findings.listed("trainer"):
        check_devices(settings["accelerator"], settings["devices"])
    with findings.listed("trainer"):
        check_limits(settings, job.command)
    if job.fits:
        look_at_settings(job, findings)
    with findings.listed("out"):
        out = job.meant.out
        facts["writes to"] = str(out)
        check_writable(out)
        facts["what is there"] = state_in_words(out)
        given = job.meant.checkpoint if job.fits else None
        start = find_start(RunFolder(out), job.recipe, given, bool(job.recipe["fresh"]))
        facts[""] = " ".join([*job.meant.notes, what_then(start)]).strip()
    print_part(console, "Job", {name: fact for name, fact in facts.items() if fact})
    return start


def look_at_settings(job: Job, findings: Findings) -> None:
    """List the settings that a fit would refuse, whatever its models and images are."""
    job.module.trainer = job.data.trainer = job.trainer
    with findings.listed("config"):
        interval, images = job.settings["val_check_interval"], job.data.batch_size
        step = job.processes, job.trainer.accumulate_grad_batches
        check_fit(job.module, job.recipe["task"], interval, images, *step)
    if isinstance(job.module, TestTimeAdaptation):
        with findings.listed("config"):
            check_compares(job.module.objective, job.data)
    with findings.listed("config"):
        check_validates((job.recipe.get("guard") or {}).get("action", "off"), job.trainer)
    with findings.listed("config"):
        count_steps(job.trainer)
    with findings.listed("config"):
        job.data.check_processes(job.processes)


def print_models(job: Job, console: Console, findings: Findings) -> None:
    """Print the encoders that would be read."""
    suite = job.module.frozen_suite
    if suite is None:
        print_part(console, "Encoders", {"pretrained": "none: training is from scratch"})
        return
    encoders = look_at_encoders(suite, findings)
    about = {"backbone": suite.backbone.model}
    if heads := suite.backbone.options.get("num_heads"):
        about["attention heads"] = (
            f"{heads}, as configured: the weights do not show how many there are"
        )
    print_part(console, "Encoders", about, encoder_table(encoders))


def print_tasks(job: Job, console: Console, findings: Findings) -> None:
    """Print the classes and images of every task, and its head."""
    counted = look_at_images(job.data, job.needs_labels, findings)
    if job.fits and not (findings.problems or findings.waiting):
        with findings.listed("config"):
            job.data.train_dataloader()  # raises for batches and steps that do not fit together
    for name, images in counted.items():
        print_task(job, name, images, console, findings)


def print_task(
    job: Job, name: str, images: CountedTask, console: Console, findings: Findings
) -> None:
    """Print one task: its head, the images of its splits, and a row for each class."""
    task, classes = job.data.suite.task(name), images.classes
    facts = {f"{split} images": str(counts) for split, counts in images.splits.items()}
    for split, size in images.to_fetch.items():
        facts[f"{split} images"] = f"to fetch from the hub, {size_in_words(size)}"
    if name in job.tasks_with_heads:
        suite = job.module.suite
        source, head = look_at_head(suite, name, bool(classes), findings)
        facts["head"] = f"{source} ({described(head)})" if head else source
        classes = classes or (head.classes if head else ())
    if images.splits:
        facts["classes"] = f"{len(classes)}, {order_of(task, images.classes)}"
    table = class_table(images, classes, job.full) if images.splits else None
    print_part(console, f"{name}: {type(task).__name__}", facts, table)


def print_memory(job: Job, console: Console, findings: Findings) -> None:
    """Print how much memory the job would take on each device, and how much is free."""
    data, precision = job.data, str(job.settings["precision"])
    dtype = DTYPES.get(precision, torch.float32)
    images = data.batch_size * data.tasks_per_batch // job.processes
    with findings.listed("model"):
        try:
            steps = max(1, int(job.settings["max_steps"]))
            memory = estimate(job.module, images, data.test_batch_size, dtype, steps)
        except RuntimeError as error:  # torch cannot compute some operations without data
            reason = str(error).partition("\n")[0]
            findings.warning("memory", f"It cannot be estimated for this backbone: {reason}.")
            return
        room = free_bytes(job.settings["accelerator"])
        needed = max(memory.fit if job.fits else 0, memory.test)
        if room is not None and needed > room:
            findings.warning(
                "memory",
                f"About {size_in_words(needed)} are needed and {size_in_words(room)} are free: "
                "lower data.batch_size or data.tasks_per_batch, or compress the task vectors "
                "(model.merge.compression).",
            )
        facts = memory_facts(memory, job.fits, room)
        print_part(console, "Memory, estimated for each device", facts)
