"""Random answers of three heads and routers, to infer tasks from."""

import torch
from torch import Tensor

TASKS = ["cars", "dtd", "mnist"]
CLASSES = {"cars": 3, "dtd": 5, "mnist": 10}
N = 40  # images


def random_logits() -> dict[str, Tensor]:
    """Per task, (N, C)."""
    generator = torch.Generator().manual_seed(0)
    return {t: 3 * torch.randn(N, n, generator=generator) for t, n in CLASSES.items()}


def random_routing(blocks: int = 2) -> list[Tensor]:
    """Per block, (N, T)."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(N, len(TASKS), generator=generator) for _ in range(blocks)]
