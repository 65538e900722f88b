"""The memory of a dictionary on every device, counted on the meta device, not measured."""

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
SEVERAL = (2, 4, 8)  # devices
# Blocks that are on a device beside its share: the one that runs, what was gathered for it, and the
# next; of a stream, the one that runs, and its larger half on the way.
GATHERED, STREAMED = 3.0, 1.5
LEARNED = 5  # float32 numbers for each that is learned: itself, its gradient twice, Adam's two


def plan(settings: Settings) -> Iterator[BenchRow]:
    """Bytes per device of a model whose dictionary is resident, streamed, or shared out."""
    for name, experts in product(settings.shapes, settings.experts):
        shape = SHAPES[name]
        for form, compression in COMPRESSIONS.items():
            about = {"shape": name, "experts": experts, "form": form}
            for row in places(shape, upscaled_block(shape, experts, compression)):
                yield about | row


def upscaled_block(shape: Shape, experts: int, compression: Compression) -> WeightEnsemblingMoE:
    """The mixture of one block, without memory."""
    with torch.device("meta"):
        mlp = Mlp(shape.width, 4 * shape.width)
        return WeightEnsemblingMoE(mlp, [mlp] * experts, compression=compression)


def places(shape: Shape, mixture: WeightEnsemblingMoE) -> Iterator[BenchRow]:
    """A row for each way to place the dictionary: bytes on a device, and those a batch moves there.

    A batch is a forward and a backward pass, each of which needs all that is not there already.
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
