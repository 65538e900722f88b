"""Train a LoRA adapter (arXiv 2106.09685) of an encoder, by PEFT."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wemoe_pl.checkpoints import Factors
from wemoe_pl.checkpoints.lora_writing import write_lora
from wemoe_pl.errors import ConfigError

# The linear layers of the blocks of most vision transformers of timm.
LAYERS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
NAME = "default"  # PEFT's name for the only adapter of a model


@dataclass(frozen=True)
class LoRA:
    """A LoRA adds a product of thin matrices, scale · B·A, to the weights of some linear layers.

    Args:
        rank: the number of columns of B and of rows of A.
        alpha: α; the scale is α / rank.
        rank_stabilised: True for a scale of α / √rank, as in rsLoRA (arXiv 2312.03732).
        layers: the ends of the names of all layers that get an adapter.
        dropout: the share of the inputs of A that is dropped in training, from 0 and below 1.
    """

    rank: int = 16
    alpha: float = 16.0
    rank_stabilised: bool = False
    layers: tuple[str, ...] = LAYERS
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values out of range before anything is loaded."""
        if not self.layers:
            raise ConfigError(f"The adapter has no layers: give names such as {', '.join(LAYERS)}.")
        if self.rank < 1:
            raise ConfigError(f"The rank of the adapter is {self.rank}: give a number from 1.")
        if not 0.0 < self.alpha < float("inf"):
            raise ConfigError(f"The alpha of the adapter is {self.alpha}: give a number above 0.")
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(
                f"The dropout of the adapter is {self.dropout}: give a share from 0, below 1."
            )

    def add_to(self, encoder: nn.Module) -> None:
        """Give layers of an encoder thin matrices, which alone require gradients from then on.

        Raises:
            ConfigError: PEFT is not installed, or no layer has one of the names.
        """
        if find_spec("peft") is None:
            raise ConfigError(
                "An adapter is trained by PEFT: install it with `pip install 'wemoe_pl[lora]'`."
            )
        from peft import LoraConfig, inject_adapter_in_model

        linear = [name for name, part in encoder.named_modules() if isinstance(part, nn.Linear)]
        for end in self.layers:
            if not any(f".{name}".endswith(f".{end}") for name in linear):
                raise ConfigError(
                    f"The encoder has no linear layer '{end}' for the adapter: give the ends of "
                    f"names such as {', '.join(linear[:4])} as its `layers`."
                )
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]  # PEFT divides it, whatever it is
            use_rslora=self.rank_stabilised,
            target_modules=list(self.layers),
            lora_dropout=self.dropout,
        )
        inject_adapter_in_model(config, encoder, adapter_name=NAME)
        for name, parameter in encoder.named_parameters():
            parameter.requires_grad_(".lora_" in name)

    def write(
        self,
        encoder: nn.Module,
        folder: Path,
        base: str,
        metadata: Mapping[str, str],
        dtype: torch.dtype,
    ) -> None:
        """Write the thin matrices of an encoder, as PEFT's `save_pretrained` does.

        Args:
            encoder: an encoder that has them.
            folder: the folder of the two files.
            base: the source of the encoder without them.
            metadata: the provenance of the weights.
            dtype: the data type in which they are stored.
        """
        settings = {"r": self.rank, "lora_alpha": self.alpha, "use_rslora": self.rank_stabilised}
        write_lora(folder, thin_matrices(encoder), settings, base, metadata, dtype)


def thin_matrices(encoder: nn.Module) -> dict[str, Factors]:
    """Return B, (m, R), and A, (R, n), of every layer of an encoder that has them."""
    found: dict[str, Factors] = {}
    for name, layer in encoder.named_modules():
        thin: Any = getattr(layer, "lora_A", None)
        if isinstance(thin, nn.ModuleDict) and NAME in thin:
            right, left = (getattr(layer, f"lora_{side}")[NAME].weight for side in "AB")
            found[name] = left.detach(), right.detach()
    return found
