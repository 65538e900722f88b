"""Identify a run by its config, its weights and its images: by hashes, not by places."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wemoe_pl.runs.checkpoint import Sources, source_change
from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.runs.settings import difference, digest_of, first_change
from wemoe_pl.system.provenance import program

RECORD = "run"  # the key under which a checkpoint and `results.json` describe their run


@dataclass(frozen=True)
class Identity:
    """An identity holds all that makes a run what it is.

    Args:
        command: the command, "fit" or "test".
        recipe: the resolved config, as plain values.
        sources: the source of each frozen part, with its hash.
        images: the `Images.identity` of every set of images, by name.
        checkpoint: the SHA-256 of the checkpoint that a test is about; None for the model as it
            is merged.
        began_from: the SHA-256 of the other run's checkpoint that a fit began with, if it did.
        history: one sentence for each change of config, images or program before the run went on.
    """

    command: str
    recipe: dict[str, Any]
    sources: Sources
    images: dict[str, str]
    checkpoint: str | None = None
    began_from: str | None = None
    history: list[str] = field(default_factory=list)

    @property
    def of_checkpoint(self) -> dict[str, Any]:
        """Return the record in a checkpoint of the run, which holds the sources elsewhere."""
        return self._record({"recipe": self.recipe})

    @property
    def of_results(self) -> dict[str, Any]:
        """Return the record in the results of the run, without config and sources."""
        tested = {"tested_checkpoint": self.checkpoint}
        return self._record({"settings": digest_of(self.recipe)}) | tested

    def _record(self, settings: dict[str, Any]) -> dict[str, Any]:
        return {
            "command": self.command,
            **settings,
            "images": self.images,
            "began_from": self.began_from,
            "history": self.history,
            "program": program(),
        }

    def change_since_checkpoint(self, record: Mapping[str, Any]) -> str:
        """Say how this run differs from the one of a checkpoint; return "" if it does not."""
        recipe, images = record.get("recipe", self.recipe), record.get("images", {})
        return first_change(recipe, self.recipe) or image_change(images, self.images)

    def change_since_results(self, folder: RunFolder, results: Mapping[str, Any]) -> str:
        """Say how this run differs from a finished one; return "" if it does not."""
        if change := difference(folder.config, self.recipe):
            return change
        if change := source_change(results["sources"], self.sources):
            return change
        record = results.get(RECORD)
        if record is None:  # written by a version without records
            return ""
        if record["settings"] != digest_of(self.recipe):
            return f"{folder.config.name} is not the one that {folder.results.name} was made with"
        if record["tested_checkpoint"] != self.checkpoint:
            return "it scored another checkpoint"
        return image_change(record["images"], self.images)


def image_change(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Say which images have changed; return an empty text if none have."""
    for name, identity in now.items():
        if name in then and then[name] != identity:
            return f"the {name} have changed in their names, sizes, order or classes"
    return ""


def program_change(left: Mapping[str, Any]) -> str:
    """Say which part of the program has changed since a run was made; return "" if none has.

    Args:
        left: the results or the checkpoint of the run.
    """
    then, now = left.get(RECORD, {}).get("program", {}), program()
    if then.get("code") != now["code"]:
        before, after = then.get("wemoe_pl", "an earlier version"), now["wemoe_pl"]
        versions = f" (then {before}, now {after})" if before != after else ""
        return f"the code of wemoe-pl{versions}"
    if then["torch"] != now["torch"]:
        return f"torch (then {then['torch']}, now {now['torch']})"
    before, own = then.get("own", {}), now.get("own", {})
    return next((f"the code of {name}" for name in own if before.get(name) != own[name]), "")
