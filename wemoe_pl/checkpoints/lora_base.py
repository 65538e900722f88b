"""Check that a LoRA adapter is added to the model that it was trained from."""

from wemoe_pl.checkpoints.lora_config import LoRAConfig
from wemoe_pl.checkpoints.sources import fingerprint
from wemoe_pl.errors import CheckpointError
from wemoe_pl.system.files import locate
from wemoe_pl.system.hub_repo import HubRepo
from wemoe_pl.system.warn import warn_once

BASE_DIGEST = "base_sha256"  # in the metadata of the adapters that this program writes


def check_base(config: LoRAConfig, base: str, own_name: str, digest: str | None = None) -> None:
    """Refuse a base that an adapter was not trained from, or warn where this cannot be told.

    Args:
        config: the config of the adapter.
        base: the source of the model to which the adapter is to be added.
        own_name: the name that `wemoe-pl` gives the weights in a folder; see `weight_files`.
        digest: the fingerprint of the model that the adapter was trained from, if it is known.

    Raises:
        CheckpointError: the adapter was trained from another model, or another revision of it.
    """
    if digest is not None:
        if digest != fingerprint(base, own_name):
            raise CheckpointError(
                f"The adapter beside {config.path} was trained from other weights than these, as "
                f"the SHA-256 in it tells, and the pretrained model is {base}: give the file that "
                "it was trained from."
            )
    elif not config.base:
        warn_once(
            f"{config.path} does not name the model that the adapter was trained from: it is added "
            f"to {base}."
        )
    elif locate(base).exists() and (theirs := fingerprint_if_here(config.base, own_name)):
        if theirs != fingerprint(base, own_name):
            refuse_base(config, config.base, base)
    else:
        compare_names(config, base)


def fingerprint_if_here(source: str, own_name: str) -> str | None:
    """Return the fingerprint of weights on this machine; None if there are none by that name."""
    try:
        return fingerprint(source, own_name) if locate(source).exists() else None
    except (CheckpointError, OSError, RuntimeError, ValueError):  # the name is a stranger's
        return None


def compare_names(config: LoRAConfig, base: str) -> None:
    """Compare the names that two models have on the hub, and their revisions."""
    theirs, ours = (HubRepo.parse(name, "model") for name in (config.base, base))
    if theirs is None or ours is None or locate(base).exists():
        if config.base != base:
            warn_once(
                f"{config.path} says that the adapter was trained from {config.base}, which cannot "
                f"be compared with {base} here: it is added to that."
            )
    elif theirs.name != ours.name:
        refuse_base(config, config.base, base)
    elif config.revision and config.revision != ours.revision:
        refuse_base(config, f"{theirs.name}@{config.revision}", str(ours))


def refuse_base(config: LoRAConfig, trained_from: str, base: str) -> None:
    """Raise `CheckpointError` for an adapter of another base."""
    raise CheckpointError(
        f"{config.path} says that the adapter was trained from {trained_from}, and the pretrained "
        f"model is {base}: choose experts of one base, or, if both are the same weights, change "
        f"'base_model_name_or_path' in that file."
    )
