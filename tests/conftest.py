"""What every test shares: no network, one thread, and vision transformers small enough to loop."""

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports timm, which reads it once
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_vit() -> Callable[..., nn.Module]:
    """`tiny_vit(seed, name, **kwargs)`: a small timm encoder, every parameter drawn from seed."""
    import timm

    def create(seed: int, name: str = "vit_tiny_patch16_224", **kwargs: object) -> nn.Module:
        tiny: dict[str, Any] = {"img_size": 32, "patch_size": 16, "embed_dim": 16, "depth": 2}
        options = {**tiny, "num_heads": 2, "num_classes": 0, **kwargs}
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            encoder: nn.Module = timm.create_model(name, **options).eval()
            for weight in encoder.parameters():  # timm starts biases at 0, which hides mistakes
                nn.init.normal_(weight, mean=weight.mean().item(), std=0.2)
        return encoder

    return create


@pytest.fixture(scope="session")
def pretrained(tiny_vit: Callable[..., nn.Module]) -> nn.Module:
    """A pretrained encoder, shared by all tests: none may change it."""
    return tiny_vit(seed=0)


@pytest.fixture(scope="session")
def experts(tiny_vit: Callable[..., nn.Module]) -> dict[str, nn.Module]:
    """Three fine-tuned copies of `pretrained`, shared by all tests: none may change them."""
    return {task: tiny_vit(seed) for seed, task in enumerate(["cars", "dtd", "mnist"], start=1)}
