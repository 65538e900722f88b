"""Measure the memory of static merging, with many experts of random weights, read from files.

    python benchmarks/merge_memory.py [--experts 20] [--depth 24] [--methods TaskArithmetic TSVM …]

The script writes a pretrained CLIP ViT-L/14 and experts in half precision (0.6 GB each at the full
depth), and merges them by each method in a process of its own. The process reports how much more
memory it has held than before, as a multiple of one model in single precision. Singular vectors of
random matrices take as long as those of others, but accuracy says nothing here. With fewer blocks
(`--depth`), single tensors that are held weigh more in relation to the model.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from wemoe_pl.checkpoints import Backbone, save_tensors

METHODS = ("TaskArithmetic", "TSVM", "IsoCTS", "WUDI", "EMR")
MERGE = """
import json, sys
from pathlib import Path
import wemoe_pl
from wemoe_pl import Backbone
from wemoe_pl.checkpoints.encoder import encoder_state
def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
folder, depth, name = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
backbone = Backbone("vit_large_patch14_clip_quickgelu_224", {"num_classes": 0, "depth": depth})
files = sorted(folder.glob("expert*.safetensors"))
before = peak()
pretrained = wemoe_pl.load_encoder(str(folder / "pretrained.safetensors"), backbone)
experts = {path.stem: encoder_state(str(path), backbone) for path in files}
merged = getattr(wemoe_pl, name)().merge(pretrained, experts)
size = sum(p.numel() * 4 for p in pretrained.parameters())
print(json.dumps({"experts": len(files), "model": size, "peak": peak() - before}))
"""


def write(folder: Path, experts: int, depth: int) -> None:
    """Write the pretrained encoder, and experts that differ little from it."""
    options = {"num_classes": 0, "depth": depth}
    shapes = Backbone("vit_large_patch14_clip_quickgelu_224", options).shapes
    base = {name: 0.02 * torch.randn(shape) for name, shape in shapes.items()}
    save_tensors(folder / "pretrained.safetensors", base, {}, torch.float16)
    for number in range(experts):
        tuned = {name: weight + 1e-3 * torch.randn_like(weight) for name, weight in base.items()}
        save_tensors(folder / f"expert{number:02}.safetensors", tuned, {}, torch.float16)


def main() -> None:
    """Measure the memory, and print a line per method."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--experts", type=int, default=20)
    parser.add_argument("--depth", type=int, default=24)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    options = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as temporary:
        write(Path(temporary), options.experts, options.depth)
        for method in options.methods:
            begun = time.monotonic()
            arguments = [sys.executable, "-c", MERGE, temporary, str(options.depth), method]
            done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            found["peak / model"] = round(found["peak"] / found["model"], 2)
            found["seconds"] = round(time.monotonic() - begun)
            print(method, json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
