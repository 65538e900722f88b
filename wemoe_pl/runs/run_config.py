"""Define the fields of a run's resolved `config.yaml`, and read it for reports and `load`.

A command that goes on with a run compares the whole file with the new config: see `difference`.
"""

from pathlib import Path
from typing import Any, NotRequired

import yaml
from pydantic import with_config
from typing_extensions import TypedDict

from wemoe_pl.errors import CheckpointError
from wemoe_pl.system.plain_yaml import load_plain
from wemoe_pl.system.schema import STRICT, Schema


class ClassRecord(TypedDict):
    """A `ClassRecord` names a class and the arguments that it is made with."""

    class_path: str
    init_args: NotRequired[dict[str, Any] | None]
    dict_kwargs: NotRequired[dict[str, Any] | None]


@with_config(STRICT)
class RunConfig(TypedDict):
    """`RunConfig` is a whole resolved config; options of Lightning and of classes are left open."""

    model: ClassRecord
    suite: dict[str, Any]
    trainer: dict[str, Any]
    out: str
    seed_everything: NotRequired[int | bool]
    data: NotRequired[ClassRecord | None]
    task: NotRequired[str | None]
    tasks: NotRequired[list[str] | None]
    unseen: NotRequired[list[str] | None]
    quiet: NotRequired[bool]
    fresh: NotRequired[bool]
    checkpoint: NotRequired[dict[str, Any] | None]
    guard: NotRequired[dict[str, Any] | None]
    dashboard: NotRequired[dict[str, Any] | None]
    predictions: NotRequired[dict[str, Any] | None]
    sample_images: NotRequired[dict[str, Any] | None]
    ckpt_path: NotRequired[str | None]
    weights_only: NotRequired[bool | None]
    verbose: NotRequired[bool]
    return_predictions: NotRequired[bool | None]


RUN_CONFIG = Schema(RunConfig)


def read_run_config(path: Path) -> dict[str, Any]:
    """Read the resolved config of a run, and warn of fields that a later version has written.

    Raises:
        CheckpointError: the file is damaged, or another program's.
    """
    try:
        config = load_plain(path.read_text(encoding="utf-8"))
        faults = RUN_CONFIG.faults(config)
        if faults.wrong:
            raise ValueError(faults.wrong)
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise CheckpointError(
            f"{path} is damaged or was not written by wemoe-pl: {reason}. Put back the one that "
            "the run has left, or delete it."
        ) from error
    faults.warn_of_unknown(path)
    return dict(config)
