"""A run that was interrupted: found in its folder, and gone on with if the config is the same."""

from pathlib import Path
from typing import Any

import yaml

from wemoe_pl.errors import ConfigError
from wemoe_pl.files import remove_leftovers
from wemoe_pl.plain_yaml import load_plain
from wemoe_pl.public_names import with_public_names
from wemoe_pl.run_checkpoint import (
    CONFIG_FILE,
    ENDED,
    LOGS,
    RESULTS,
    last_checkpoint,
    read_checkpoint,
)

# Where and how a run is made, which changes nothing of what it comes to. Callbacks of one's own
# may, but their list changes with the progress bar. The size of test batches is not among them: it
# changes the scores where batches are routed.
OF_NO_MATTER = (
    "out", "quiet", "fresh", "ckpt_path", "weights_only", "checkpoint", "dashboard", "predictions",
    "trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy",
    "trainer.plugins", "trainer.logger", "trainer.callbacks", "trainer.profiler",
    "trainer.enable_progress_bar", "trainer.enable_model_summary", "trainer.detect_anomaly",
    "data.init_args.num_workers", "data.init_args.cache_images", "data.init_args.images",
)  # fmt: skip


def unfinished_run(out: Path, recipe: dict[str, Any]) -> Path | None:
    """The checkpoint of a fit in a folder that has not come to its end, if there is one.

    A run is finished when its training has ended, and it has left its results, the last thing that
    it writes. Results alone can be of a test in the middle.

    Args:
        out: the folder.
        recipe: the resolved config of the fit that is to begin.

    Raises:
        ConfigError: the unfinished run is of another config; names the first key that differs.
    """
    last = last_checkpoint(out)
    if not last.is_file() or ((out / RESULTS).is_file() and has_ended(last)):
        return None
    if differs := difference(out / CONFIG_FILE, recipe):
        raise ConfigError(
            f"{out} holds an unfinished run of another config: {differs}. Give another --out, or "
            "`--ckpt_path last` to go on with this config, or --fresh to begin anew."
        )
    return last


def is_own(checkpoint: Path, out: Path) -> bool:
    """Is a checkpoint the one of this folder's run?"""
    return checkpoint.resolve() == last_checkpoint(out).resolve()


def clear(out: Path, start: Path | None) -> None:
    """Remove what a killed fit was writing, and the checkpoint of a run that is not gone on with.

    Before the config of the next run is there, so that it is never taken for one of that.
    """
    for folder in (out, out / LOGS, last_checkpoint(out).parent):
        remove_leftovers(folder)
    if start is None or not is_own(start, out):
        last_checkpoint(out).unlink(missing_ok=True)


def has_ended(last: Path) -> bool:
    """Is a checkpoint one of a training that has come to its end?"""
    callbacks: dict[str, Any] = read_checkpoint(last)["callbacks"]
    return all(state.get(ENDED, True) for state in callbacks.values())


def difference(config: Path, recipe: dict[str, Any]) -> str:
    """Where the config of a run differs from another, in words; empty if it does not."""
    if not config.is_file():
        return f"{config.name} is missing"
    try:
        then = load_plain(config.read_text())
    except (yaml.YAMLError, ValueError):
        then = None
    if not isinstance(then, dict):
        return f"{config.name} is damaged"
    return first_change(with_public_names(then), with_public_names(recipe))


def first_change(then: dict[str, Any], now: dict[str, Any], above: str = "") -> str:
    """The first key that matters and has changed, with both values; empty if none has.

    >>> first_change({"out": "a", "model": {"rate": 1}}, {"out": "b", "model": {"rate": 2}})
    'model.rate was 1 and is now 2'
    """
    for key in then | now:
        name, old, new = f"{above}{key}", then.get(key), now.get(key)
        if name in OF_NO_MATTER or old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            if change := first_change(old, new, f"{name}."):
                return change
        else:
            return f"{name} was {old} and is now {new}"
    return ""
