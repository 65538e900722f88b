"""Define the measures of `wemoe-pl bench`, by name: functions of `Settings` that yield rows."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from wemoe_pl.bench.forms import forms
from wemoe_pl.bench.limits import limits
from wemoe_pl.bench.plan import plan
from wemoe_pl.bench.rivals import Layer, all_at_once, fusion_bench_layers, loop_over_samples
from wemoe_pl.bench.serve import serve
from wemoe_pl.bench.subjects import (
    SHAPES,
    BenchRow,
    Settings,
    forward_only,
    mixture,
    there_and_back,
    timed,
    upscaled,
)
from wemoe_pl.checkpoints import save_tensors
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.model.entropy import mean_entropy
from wemoe_pl.moe.kernels.choice import choose_kernel
from wemoe_pl.moe.kernels.plain import activation_mlp
from wemoe_pl.moe.kernels.tiled import tiled_mlp
from wemoe_pl.moe.kernels.timing import interleaved, peak_memory
from wemoe_pl.moe.kernels.two_layers import Kernel, two_layers

MOST_LOOPED = 16  # samples; a loop over more of them outgrows the memory of many machines
HEAD_CLASSES = 100  # classes of every task, about the mean of the paper's eight tasks


def layer(settings: Settings) -> Iterator[BenchRow]:
    """Time the mixture, the plain MLP and the rivals: forward, and forward with backward."""
    wanted = product(settings.shapes, settings.experts, settings.depths)
    for name, experts, depth in wanted:
        shape = SHAPES[name]
        plain, tuned, moe = mixture(shape, experts, depth, settings)
        others = fusion_bench_layers(plain, tuned, shape.width, depth)
        rivals: dict[str, Layer] = {"plain": plain, "WEMoE": moe}
        rivals["loop over samples"] = loop_over_samples(moe)
        rivals["all weights at once"] = all_at_once(moe)
        rivals |= {rival: settings.place(module) for rival, module in others.items()}
        for samples in settings.samples:
            x = settings.batch(samples, shape.tokens, shape.width)
            about = {"shape": name, "samples": samples, "experts": experts, "depth": depth}
            few = samples <= MOST_LOOPED
            fit = {k: v for k, v in rivals.items() if few or k in ("plain", "WEMoE")}
            yield from timed(fit, x, settings, about)


def ways(settings: Settings) -> Iterator[BenchRow]:
    """Time every kernel for a mixture, from one token to all, to see if the fastest is chosen."""
    for name, experts in product(settings.shapes, settings.experts):
        shape = SHAPES[name]
        plain, _, moe = mixture(shape, experts, 0, settings)
        layers = two_layers(moe.mlp, moe.task_vectors)
        assert layers is not None
        for samples, tokens in product(settings.samples, (1, 2, 4, 8, shape.tokens)):
            x = settings.batch(samples, tokens, shape.width)
            shares = settings.batch(samples, experts)
            runs: dict[str, Layer] = {"plain": plain}
            runs |= {name: partial(kernel, layers, shares) for name, kernel in KERNELS.items()}
            with torch.no_grad():
                forward = choose_kernel(layers, shares, x)
            chosen = {"forward": forward, "both": choose_kernel(layers, shares, x)}
            about = {"shape": name, "samples": samples, "tokens": tokens, "experts": experts}
            for row in timed(runs, x, settings, about):
                kernel = KERNELS.get(row["run"])
                marks = {f"chosen, {what}": kernel is choice for what, choice in chosen.items()}
                yield row | marks


def memory(settings: Settings) -> Iterator[BenchRow]:
    """Measure the memory of a forward and a backward pass, and the size of the dictionary.

    The column `extra` is the memory beyond the output and the gradient of the input, which any
    layer has.
    """
    for name, experts, depth in product(settings.shapes, settings.experts, settings.depths):
        shape = SHAPES[name]
        plain, _, moe = mixture(shape, experts, depth, settings)
        for samples in settings.samples:
            x = settings.batch(samples, shape.tokens, shape.width)
            upstream = torch.randn_like(x)
            dictionary = moe.task_vectors.nbytes
            for run, module in {"plain": plain, "WEMoE": moe}.items():
                module(x).backward(upstream)  # gradients and libraries' buffers stay after this
                x.grad = None
                _, held = peak_memory(there_and_back(module, x, upstream), settings.device)
                x.grad = None
                extra = None if held is None else held - 2 * x.nbytes
                ratio = None if extra is None else extra / dictionary
                about = {"shape": name, "samples": samples, "experts": experts, "depth": depth}
                sizes = {"bytes": held, "extra": extra, "dictionary": dictionary, "ratio": ratio}
                yield about | {"run": run} | sizes


def encoder(settings: Settings) -> Iterator[BenchRow]:
    """Time adaptation steps and evaluation of an encoder, all tasks in one forward pass."""
    for name, experts, per_task in product(settings.shapes, settings.experts, settings.samples):
        shape = SHAPES[name]
        blocks = min(shape.blocks, settings.blocks or shape.blocks)
        plain, merged = upscaled(shape, blocks, experts, settings)
        heads = settings.batch(experts, HEAD_CLASSES, shape.width).detach()
        images = settings.batch(experts * per_task, 3, shape.image, shape.image)
        evaluated = images.detach()
        steps = {
            "plain": partial(step, plain, images, heads),
            "WEMoE": partial(step, merged, evaluated, heads),
        }
        scored = {"plain": forward_only(plain, evaluated), "WEMoE": forward_only(merged, evaluated)}
        about = {"shape": name, "blocks": blocks, "experts": experts, "per task": per_task}
        times = {
            "step": interleaved(steps, settings.repeats, settings.device),
            "evaluation": interleaved(scored, settings.repeats, settings.device),
        }
        for what, seconds in times.items():
            for run, value in seconds.items():
                speeds = {"seconds": value, "images/s": len(images) / value}
                ratio = {"ratio": value / seconds["plain"]}
                yield about | {"what": what, "run": run} | speeds | ratio


def build(settings: Settings) -> Iterator[BenchRow]:
    """Measure the upscaling of an encoder: time, memory, and size of the routers' checkpoint."""
    for name, experts in product(settings.shapes, settings.experts):
        shape = SHAPES[name]
        blocks = min(shape.blocks, settings.blocks or shape.blocks)
        pretrained = shape.encoder(blocks)
        states = [shape.encoder(blocks).state_dict() for _ in range(experts)]
        begin = time.perf_counter()
        merged, held = peak_memory(partial(WEMoE().upscaled, pretrained, states), "cpu")
        seconds = time.perf_counter() - begin
        model = sum(weight.nbytes for weight in merged.parameters())
        ratio = None if held is None else held / model
        about = {"shape": name, "blocks": blocks, "experts": experts, "seconds": seconds}
        sizes = {"bytes": held, "model": model, "ratio": ratio, "checkpoint": file_bytes(merged)}
        yield about | sizes


Measure = Callable[[Settings], Iterator[BenchRow]]
MEASURES: dict[str, Measure] = {
    "layer": layer, "forms": forms, "ways": ways, "limits": limits, "memory": memory,
    "encoder": encoder, "build": build, "plan": plan, "serve": serve,
}  # fmt: skip
KERNELS: dict[str, Kernel] = {"weight space": tiled_mlp, "activation space": activation_mlp}


def step(encoder: nn.Module, images: Tensor, heads: Tensor) -> None:
    """Run an adaptation step without the optimizer: forward, the tasks' entropies, backward."""
    features = encoder(images).unflatten(0, (len(heads), -1))
    logits = torch.einsum("tbd,tcd->tbc", features, heads)
    sum(map(mean_entropy, logits)).backward()  # type: ignore[union-attr]


def file_bytes(encoder: nn.Module) -> int:
    """Return the size in bytes of a file of the trainable weights, which are the routers."""
    trained = {n: p.detach() for n, p in encoder.named_parameters() if p.requires_grad}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "routers.safetensors"
        save_tensors(path, trained, {})
        return path.stat().st_size
