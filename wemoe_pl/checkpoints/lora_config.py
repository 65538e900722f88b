"""Read the config of a LoRA adapter, and refuse adapters that are added in another way."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wemoe_pl.checkpoints.config_part import ConfigPart
from wemoe_pl.checkpoints.peft import MERGE_FIRST
from wemoe_pl.errors import CheckpointError

# Initialisations that leave the weights of the base as they are; PiSSA, for one, changes them.
HARMLESS_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
# Settings that say how an adapter was trained, and change nothing in how it is added to its base.
OF_TRAINING = frozenset((
    "auto_mapping", "ensure_weight_tying", "eva_config", "exclude_modules", "inference_mode",
    "layers_pattern", "layers_to_transform", "loftq_config", "lora_dropout", "megatron_core",
    "peft_version", "qalora_group_size", "runtime_config", "task_type",
))  # fmt: skip
READ_HERE = frozenset((
    "alpha_pattern", "base_model_name_or_path", "bias", "init_lora_weights", "lora_alpha",
    "modules_to_save", "peft_type", "r", "rank_pattern", "revision", "target_modules",
    "use_rslora",
))  # fmt: skip
A_NAME = re.compile(r"[\w.]+")  # any other pattern is a regular expression, and is not evaluated


@dataclass(frozen=True)
class LoRAConfig:
    """A `LoRAConfig` says how the thin matrices of an adapter are scaled, and what they belong to.

    Args:
        path: the file that it was read from.
        rank: the rank of all layers without a rank of their own.
        alpha: α of all layers without one of their own.
        is_rank_stabilised: True if the scale is α / √r, as in rsLoRA (arXiv 2312.03732), instead of
            α / r.
        ranks: the ranks of some layers, by the ends of their names.
        alphas: the α of some layers, by the ends of their names.
        targets: the ends of the names of all layers that are adapted; None if the config names
            them by a regular expression.
        base: the model that the adapter was trained from; empty if the config does not name it.
        revision: the revision of that model on the hub; empty for any.
        is_complete: True if every layer whose name ends in one of `targets` is adapted.
        trains_biases: True if biases were trained too.
        whole_modules: the ends of the names of modules that were trained as a whole.
    """

    path: Path
    rank: int
    alpha: float
    is_rank_stabilised: bool
    ranks: Mapping[str, float]
    alphas: Mapping[str, float]
    targets: tuple[str, ...] | None
    base: str
    revision: str
    is_complete: bool
    trains_biases: bool
    whole_modules: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> "LoRAConfig":
        """Read a config.

        Raises:
            CheckpointError: the file is missing, damaged, or the config of another kind of adapter.
        """
        if not path.is_file():
            raise CheckpointError(
                f"There is no {path}: copy it there from where the adapter's weights come from, "
                "since it says how they are scaled."
            )
        config = ConfigPart.read(path)
        check_is_plain(config)
        targets = config.values.get("target_modules")
        return cls(
            path,
            rank=config.count("r", 8),
            alpha=finite_alpha(config, config.number("lora_alpha", 8)),
            is_rank_stabilised=config.flag("use_rslora"),
            ranks=numbers_by_name(config, "rank_pattern"),
            alphas=numbers_by_name(config, "alpha_pattern"),
            targets=tuple(map(str, targets)) if isinstance(targets, list) else None,
            base=config.text("base_model_name_or_path", ""),
            revision=config.text("revision", ""),
            is_complete=not any(
                config.values.get(key)
                for key in ("exclude_modules", "layers_pattern", "layers_to_transform")
            ),
            trains_biases=config.text("bias", "none") != "none",
            whole_modules=config.texts("modules_to_save"),
        )

    def rank_of(self, layer: str) -> float:
        """Return the rank of a layer, given its full name."""
        return of_layer(self.ranks, layer, self.rank)

    def scale(self, layer: str) -> float:
        """Return the factor of B·A for a layer, given its full name."""
        rank, alpha = self.rank_of(layer), of_layer(self.alphas, layer, self.alpha)
        return alpha / math.sqrt(rank) if self.is_rank_stabilised else alpha / rank

    def targets_layer(self, layer: str) -> bool:
        """Return whether the config says that a layer is adapted; True if it does not say."""
        return self.targets is None or any(is_end(name, layer) for name in self.targets)


def check_is_plain(config: ConfigPart) -> None:
    """Raise `CheckpointError` unless an adapter is a LoRA that is added as B·A times a scale."""
    kind = config.text("peft_type", "unknown")
    if kind != "LORA":
        raise CheckpointError(
            f"{config.path} is the config of a PEFT adapter of type {kind}, and only LoRA is read: "
            f"{MERGE_FIRST}."
        )
    start = config.values.get("init_lora_weights", True)
    if start not in HARMLESS_STARTS:
        raise CheckpointError(
            f"{config.path} says that its LoRA was initialised by '{start}', which also changes "
            f"the weights of the base: {MERGE_FIRST}."
        )
    for name, value in config.values.items():
        if value and name not in OF_TRAINING | READ_HERE:
            raise CheckpointError(
                f"{config.path} sets '{name}', with which an adapter is not added to its base as "
                f"plain LoRA is: {MERGE_FIRST}."
            )


def finite_alpha(config: ConfigPart, alpha: float) -> float:
    """Return α, or raise `CheckpointError` if no number can be scaled by it."""
    if not math.isfinite(alpha):
        raise CheckpointError(f"{config.path} is damaged: its 'lora_alpha' is {alpha}.")
    return alpha


def numbers_by_name(config: ConfigPart, key: str) -> dict[str, float]:
    """Return the ranks or α of single layers, by the ends of the layers' names.

    Raises:
        CheckpointError: a value is no number above 0, or a name is a regular expression.
    """
    part = config.part(key)
    for name, value in part.values.items():
        if not A_NAME.fullmatch(name):
            raise CheckpointError(
                f"{config.path} chooses layers by the regular expression {name[:60]!r} in its "
                f"'{key}', and only names are read: {MERGE_FIRST}."
            )
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 < value < math.inf:
            raise CheckpointError(
                f"{config.path} is damaged: its '{key}' is {str(value)[:40]!r} for '{name}' "
                "instead of a number above 0. Copy or download it again."
            )
    return dict(part.values)


def of_layer(numbers: Mapping[str, float], layer: str, usual: float) -> float:
    """Return the number of the first name that a layer's name ends in, or the usual number.

    >>> of_layer({"fc1": 4}, "blocks.0.mlp.fc1", 8)
    4
    """
    return next((number for name, number in numbers.items() if is_end(name, layer)), usual)


def is_end(name: str, layer: str) -> bool:
    """Return whether a name is that of a layer, or the last parts of it.

    >>> [is_end("fc1", layer) for layer in ("mlp.fc1", "mlp.my_fc1")]
    [True, False]
    """
    return f".{layer}".endswith(f".{name}")
