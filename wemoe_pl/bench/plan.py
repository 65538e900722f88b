"""Count the memory of a dictionary on every device, with models on the meta device."""

from collections.abc import Iterator
from itertools import product

import torch
from timm.layers.mlp import Mlp
from torch import nn

from wemoe_pl.bench.subjects import SHAPES, BenchRow, Settings, Shape
from wemoe_pl.moe.compression import Compression
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.layers import WeightEnsemblingMoE
from wemoe_pl.moe.low_rank import LowRank
from wemoe_pl.moe.pruned import Pruned
from wemoe_pl.moe.quantised import Quantised

COMPRESSIONS: dict[str, Compression] = {
    "dense, float32": Dense("float32"),
    "dense, bfloat16": Dense("bfloat16"),
    "int8": Quantised("float32"),
    "pruned by 0.9, bfloat16": Pruned("bfloat16", ratio=0.9),
    "rank 64, bfloat16": LowRank("bfloat16", rank=64),
}
SEVERAL = (2, 4, 8)  # numbers of devices
# Blocks on a device in addition to its share. Gathered: the one that runs, what was gathered for
# it, and the next one. Streamed: the one that runs, and one of its two matrices on the way.
GATHERED, STREAMED = 3.0, 1.5
LEARNED = 5  # float32 numbers per learned weight: itself, its gradient twice, and Adam's two


def plan(settings: Settings) -> Iterator[BenchRow]:
    """Yield the bytes per device of a model whose dictionary is resident, streamed or divided."""
    for name, experts in product(settings.shapes, settings.experts):
        shape = SHAPES[name]
        for form, compression in COMPRESSIONS.items():
            about = {"shape": name, "experts": experts, "form": form}
            for row in places(shape, upscaled_block(shape, experts, compression)):
                yield about | row


def upscaled_block(shape: Shape, experts: int, compression: Compression) -> WeightEnsemblingMoE:
    """Return the mixture of one block, without memory for its weights."""
    with torch.device("meta"):
        mlp = Mlp(shape.width, 4 * shape.width)
        return WeightEnsemblingMoE(mlp, [mlp] * experts, compression=compression)


def places(shape: Shape, mixture: WeightEnsemblingMoE) -> Iterator[BenchRow]:
    """Yield a row for each way to place the dictionary: bytes on a device, and moved per batch.

    A batch has a forward and a backward pass. Each moves all that is not on the device already.
    """
    with torch.device("meta"):
        frozen = 4 * parameter_count(shape.encoder(shape.blocks))
    learned = 4 * LEARNED * shape.blocks * parameter_count(mixture.router)
    block = mixture.task_vectors.nbytes
    total = shape.blocks * block
    held = {"1": (total, 0.0, 0.0), "1, streamed": (0.0, STREAMED * block, 2.0 * total)}
    for count in SEVERAL:
        moved = 2 * total * (count - 1) / count
        held[str(count)] = (total / count, GATHERED * block, moved)
    for devices, (share, fetched, moved) in held.items():
        sizes = {"dictionary": share, "fetched": fetched, "frozen": frozen, "learned": learned}
        yield {"devices": devices, **sizes, "sum": sum(sizes.values()), "moved": moved}


def parameter_count(module: nn.Module) -> int:
    """Return the number of parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())
