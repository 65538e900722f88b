"""Measure how fast exported programs are, as shares of the time that the model itself takes.

    python benchmarks/export_speed.py [--blocks 4] [--batches 1 16] [--rounds 15] [--threads 2]

Models have the width of ViT-B/32, fewer blocks, random weights and four experts. Each is written as
`torch-export`, `aoti` and `onnx`. In every round, each of the four runs once, one after the other,
so that whatever else the machine does slows all of them. The table has the median over rounds of a
program's time, divided by that of the model in eager mode in the same round.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import onnxruntime
import torch
from torch import Tensor

from wemoe_pl.checkpoints import Backbone
from wemoe_pl.checkpoints.heads import LinearHead
from wemoe_pl.export.compiled import open_compiled, write_compiled
from wemoe_pl.export.programs import (
    ONNX_FILE,
    AllTasks,
    open_program,
    write_onnx,
    write_program,
)
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.folding import fold, folds
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.model.classifier import MultiTaskClassifier
from wemoe_pl.moe.low_rank import LowRank
from wemoe_pl.reporting.markdown import grid

MODELS: dict[str, MergeMethod] = {
    "folded": WEMoE(router_depth=0),
    "low-rank (16)": WEMoE(compression=LowRank(rank=16)),
    "dense": WEMoE(),
}
TASKS = ("a", "b", "c", "d")
CLASSES = [str(number) for number in range(10)]


def built(method: MergeMethod, blocks: int) -> MultiTaskClassifier:
    """Merge four experts near a pretrained encoder of random weights."""
    torch.manual_seed(0)
    backbone = Backbone("vit_base_patch32_clip_quickgelu_224", {"depth": blocks, "num_classes": 0})
    plain = backbone.build().eval()
    experts = {
        task: {
            k: w + 0.01 * torch.randn_like(w) if w.is_floating_point() else w
            for k, w in plain.state_dict().items()
        }
        for task in TASKS
    }
    encoder = method.merge(plain, experts)
    encoder = fold(encoder) if folds(encoder) else encoder
    heads = {
        task: LinearHead(0.05 * torch.randn(10, 768), CLASSES, torch.zeros(10)) for task in TASKS
    }
    return MultiTaskClassifier(encoder, heads, backbone=backbone, experts=TASKS).eval()


def programs(classifier: MultiTaskClassifier, folder: Path) -> dict[str, Callable[[Tensor], Any]]:
    """Write and open the programs of a classifier; the first is the classifier itself."""
    model: Any = SimpleNamespace(classifier=classifier, images=torch.randn(2, 3, 224, 224))
    write_program(model, folder)
    opened: dict[str, Callable[[Tensor], Any]] = {
        "eager": torch.inference_mode()(AllTasks(classifier)),
        "torch-export": open_program(folder),
    }
    write_compiled(model, folder)
    write_onnx(model, folder)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        folder / ONNX_FILE, options, providers=["CPUExecutionProvider"]
    )
    opened["aoti"] = open_compiled(folder)
    opened["onnx"] = lambda images: session.run(None, {"images": images.numpy()})
    return opened


def seconds(run: Callable[[Tensor], Any], images: Tensor) -> float:
    """Return how long one call takes."""
    start = perf_counter()
    run(images)
    return perf_counter() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--models", nargs="+", choices=MODELS, default=[*MODELS])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: list[list[str]] = []
    for name in options.models:
        classifier = built(MODELS[name], options.blocks)
        with tempfile.TemporaryDirectory() as folder:
            runs = programs(classifier, Path(folder))
            for size in options.batches:
                images = torch.randn(size, 3, 224, 224)
                for run in [*runs.values()] * 2:  # the first calls choose kernels and fill caches
                    run(images)
                rounds = [[seconds(run, images) for run in runs.values()]
                          for _ in range(options.rounds)]  # fmt: skip
                ratios = [median(r[i] / r[0] for r in rounds) for i in range(1, len(runs))]
                eager = 1e3 * median(r[0] for r in rounds)
                rows.append([name, str(size), f"{eager:.0f} ms", *(f"{r:.2f}" for r in ratios)])
                print(*rows[-1], file=sys.stderr, flush=True)
    columns = ["model", "batch", "eager", "torch-export", "aoti", "onnx"]
    print(grid(columns, rows, align="---"))


if __name__ == "__main__":
    main()
