"""Recognise adapters of PEFT, such as LoRA, and refuse them with advice."""

import re
from collections.abc import Collection

from wemoe_pl.errors import CheckpointError

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_PART = re.compile(
    r"(^|\.)(lora_(embedding_)?[AB]|lora_magnitude_vector|hada_[wt][12](_[ab])?|lokr_[wt][12](_[ab])?|ia3_l|oft_[rRs]|"
    r"boft_[Rs]|vera_lambda_[bd]|ln_tuning_layers|randlora_\w+)($|\.)"
)
WRAPPED = ".base_layer."  # PEFT's name for a layer of the model that it adapts
MERGE_IT = "call `merge_and_unload()`, and save the model that it returns with `save_pretrained`"


def check_is_no_adapter(name: str, keys: Collection[str]) -> None:
    """Raise `CheckpointError` for an adapter, or for a model with an adapter that is not merged.

    Args:
        name: the file.
        keys: the keys of its tensors.
    """
    part = next((key for key in keys if ADAPTER_PART.search(key)), None)
    if part is None:
        return
    if any(WRAPPED in key for key in keys):
        raise CheckpointError(
            f"{name} is a model of PEFT with an adapter ('{part}') that is not merged into its "
            f"weights: {MERGE_IT}."
        )
    raise CheckpointError(adapter_alone(name))


def adapter_alone(name: str) -> str:
    """Return the error message for an adapter without its model.

    Args:
        name: the name of the file, folder or repository that holds it.
    """
    return (
        f"{name} holds an adapter of PEFT, such as LoRA, and no model: load it onto its base with "
        f"`peft.PeftModel.from_pretrained(base, ...)`, {MERGE_IT}."
    )
