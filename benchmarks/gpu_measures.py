"""Take a measure of `gpu_check.sh`: `python benchmarks/gpu_measures.py NAME --out FOLDER`.

There are the measures of `wemoe-pl bench`, at the sizes of its GPU table, and four that only make
sense on a GPU. Without a GPU they run on the CPU, at the sizes of the miniature.
"""

import argparse
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from wemoe_pl.bench.report import bench
from wemoe_pl.bench.rivals import Layer
from wemoe_pl.bench.subjects import SHAPES, Settings, forward_only, mixture, there_and_back
from wemoe_pl.moe.kernels import choice
from wemoe_pl.moe.kernels.timing import interleaved
from wemoe_pl.system.provenance import versions

ON_GPU = torch.cuda.is_available()
SEED = 0
GPU = Settings(
    shapes=("vitb32", "vitb16", "vitl14"),
    samples=(16, 128),
    repeats=20,
    device="cuda",
    dtype=torch.bfloat16,
)
TRIAL = Settings(shapes=("miniature",), samples=(2,), experts=(2,), repeats=1, blocks=1)
SETTINGS = GPU if ON_GPU else TRIAL
ONE_SHAPE = replace(SETTINGS, shapes=SETTINGS.shapes[:1])


def facts(out: Path) -> None:
    """Write down the GPU, the driver and the versions."""
    found: dict[str, object] = {"versions": versions(), "device": "cpu"}
    if ON_GPU:
        about = torch.cuda.get_device_properties(0)
        smi = subprocess.run(["nvidia-smi"], capture_output=True, text=True, check=False)
        found |= {
            "device": about.name,
            "multiprocessors": about.multi_processor_count,
            "memory": about.total_memory,
            "cuda": torch.version.cuda,
            "nvidia-smi": smi.stdout.splitlines(),
        }
    write(out, "facts", found)


def measured(*measures: str, settings: Settings = SETTINGS) -> Callable[[Path], None]:
    """Return a function that takes measures of `wemoe-pl bench`."""

    def take(out: Path) -> None:
        command = f"python benchmarks/gpu_measures.py {measures[0]}"
        bench(settings, measures, out, seed=SEED, threads=None, command=command)

    return take


def compiled(out: Path) -> None:
    """Time the mixture and the plain MLP, both as they are and compiled."""
    rows = []
    for samples in ONE_SHAPE.samples:
        torch.manual_seed(SEED)
        shape = SHAPES[ONE_SHAPE.shapes[0]]
        plain, _, moe = mixture(shape, ONE_SHAPE.experts[0], 2, ONE_SHAPE)
        x = ONE_SHAPE.batch(samples, shape.tokens, shape.width)
        upstream = torch.randn_like(x)
        layers: dict[str, Layer] = {"plain": plain, "WEMoE": moe}
        # Without a GPU there may be no compiler for the code that "inductor" writes either.
        backend = "inductor" if ON_GPU else "aot_eager"
        layers |= {f"{n}, compiled": torch.compile(m, backend=backend) for n, m in layers.items()}
        there = {name: forward_only(layer, x) for name, layer in layers.items()}
        back = {name: there_and_back(layer, x, upstream) for name, layer in layers.items()}
        forward = interleaved(there, ONE_SHAPE.repeats, ONE_SHAPE.device)
        both = interleaved(back, ONE_SHAPE.repeats, ONE_SHAPE.device)
        rows += [
            {"samples": samples, "run": name, "forward": forward[name], "both": both[name]}
            for name in layers
        ]
    write(out, "compile", rows)


def chosen(out: Path) -> None:
    """Write down which kernel was the fastest on a GPU, for every load and both passes."""
    for name in SETTINGS.shapes:
        shape = SHAPES[name]
        for samples in (1, 4, *SETTINGS.samples):
            _, _, moe = mixture(shape, SETTINGS.experts[0], 2, SETTINGS)
            x = SETTINGS.batch(samples, shape.tokens, shape.width)
            forward_only(moe, x)()
            there_and_back(moe, x, torch.randn_like(x))()
    rows = [
        {"kind": [str(part) for part in kind], "kernel": kernel.__name__}
        for kind, kernel in choice.fastest_kernels.items()
    ]
    write(out, "choice", rows)


def profiled(out: Path) -> None:
    """Write down how long each operation of a forward and a backward pass takes on the device."""
    shape = SHAPES[ONE_SHAPE.shapes[0]]
    _, _, moe = mixture(shape, ONE_SHAPE.experts[0], 2, ONE_SHAPE)
    x = ONE_SHAPE.batch(ONE_SHAPE.samples[-1], shape.tokens, shape.width)
    run = there_and_back(moe, x, torch.randn_like(x))
    run()
    with torch.profiler.profile() as profile:
        run()
    by = "self_cuda_time_total" if ON_GPU else "self_cpu_time_total"
    table = profile.key_averages().table(sort_by=by, row_limit=25)
    print(table)
    out.mkdir(parents=True, exist_ok=True)
    (out / "profile.txt").write_text(table)


def write(out: Path, name: str, content: object) -> None:
    """Print a result, and write it as JSON."""
    text = json.dumps(content, indent=1)
    print(text)
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(text + "\n")


MEASURES: dict[str, Callable[[Path], None]] = {
    "facts": facts,
    "layer": measured("layer"),
    "encoder": measured("encoder", settings=ONE_SHAPE),
    "memory": measured("memory", "plan", settings=ONE_SHAPE),
    "forms": measured("forms", settings=ONE_SHAPE),
    "compile": compiled,
    "choice": chosen,
    "profile": profiled,
}


def main() -> None:
    """Take the measure that the command names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("measure", choices=MEASURES)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    MEASURES[options.measure](options.out)


if __name__ == "__main__":
    main()
