"""Recognise adapters of PEFT: which files hold them, and which of them cannot be read."""

import re
from collections.abc import Collection

from wemoe_pl.errors import CheckpointError

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin")  # PEFT's names
ADAPTER_PART = re.compile(
    r"(^|\.)(lora_(embedding_)?[AB]|lora_magnitude_vector|hada_[wt][12](_[ab])?|lokr_[wt][12](_[ab])?|ia3_l|oft_[rRs]|"
    r"boft_[Rs]|vera_lambda_[bd]|ln_tuning_layers|randlora_\w+)($|\.)"
)
BASE_WEIGHT = ".base_layer.weight"  # PEFT's name for the weight of a layer that it adapts
MERGE_IT = "call `merge_and_unload()`, and save the model that it returns with `save_pretrained`"
MERGE_FIRST = f"load it onto its base with `peft.PeftModel.from_pretrained(base, ...)`, {MERGE_IT}"


def check_is_no_adapter(name: str, keys: Collection[str]) -> None:
    """Raise `CheckpointError` for an adapter, or for a model with an adapter that is not merged.

    Args:
        name: the file, which does not have the name of an adapter's.
        keys: the keys of its tensors.
    """
    part = next((key for key in keys if ADAPTER_PART.search(key)), None)
    if part is None:
        return
    if any(key.endswith(BASE_WEIGHT) for key in keys):
        raise CheckpointError(
            f"{name} is a model of PEFT with an adapter ('{part}') that is not merged into its "
            f"weights: {MERGE_IT}."
        )
    raise CheckpointError(
        f"{name} holds an adapter of PEFT ('{part}') and no model: an adapter is read from the "
        f"folder that PEFT's `save_pretrained` writes, with {ADAPTER_FILES[0]} and "
        f"{ADAPTER_CONFIG}, and only as an expert."
    )
