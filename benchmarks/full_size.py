"""Measure the memory of full-size models with random weights on a CPU: build, adapt and score.

    python benchmarks/full_size.py [--config adapt_vitb32.yaml] [--build-only | --export]

It fills a hub on loopback with models of the published shapes and form and tiny image sets in the
published layout (3.5 GB for ViT-B/32 and eight tasks, as much again in the hub's cache), then
measures two processes: one that builds WEMoE, and `wemoe-pl fit` with the config for two steps.
With `--export` instead: `wemoe-pl export --format bundle --precision bfloat16`, and a process that
loads the bundle and encodes two images. Heads are random too, since the text tower takes minutes on
a CPU. Random weights say nothing about accuracy.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
import yaml

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from helpers.hub_content import EXPERT_NAMES, write_clip, write_expert  # noqa: E402
from helpers.hub_datasets import write_datasets  # noqa: E402
from helpers.loopback_hub import LoopbackHub  # noqa: E402

from wemoe_pl.checkpoints.heads import CosineHead, save_head  # noqa: E402
from wemoe_pl.data.suite import Suite  # noqa: E402
from wemoe_pl.data.tasks import PaperTask  # noqa: E402
from wemoe_pl.merging.wemoe import WEMoE  # noqa: E402
from wemoe_pl.model.recipe import describe, read_suite  # noqa: E402
from wemoe_pl.system.configs import find_config  # noqa: E402

BASE = {"width": 768, "layers": 12, "heads": 12, "embed_dim": 512, "text_width": 512}
MODELS = {  # by the file of their eight-task suite
    "vitb32": ("clip-vit-base-patch32", BASE | {"patch_size": 32}),
    "vitb16": ("clip-vit-base-patch16", BASE | {"patch_size": 16}),
    "vitl14": (
        "clip-vit-large-patch14",
        {
            "width": 1024,
            "layers": 24,
            "heads": 16,
            "embed_dim": 768,
            "text_width": 768,
            "patch_size": 14,
        },
    ),
}
BUILD = """
import json, sys
from pathlib import Path
from wemoe_pl.system.configs import find_config
from wemoe_pl.reporting.results import parameter_counts
from wemoe_pl import WEMoE
from wemoe_pl.model.recipe import read_suite
def peak():  # of this process alone; ru_maxrss begins with what the one that started it held
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
suite = read_suite(find_config(sys.argv[1]))
before = peak()
encoder = WEMoE().merge(suite.load_pretrained(), suite.load_experts())
size = sum(p.numel() * p.element_size() for p in encoder.parameters())
print(json.dumps({**parameter_counts(encoder), "model": size, "peak": peak() - before}))
"""
RUN = """
import sys
from pathlib import Path
from wemoe_pl.__main__ import main
code = main()
status = Path("/proc/self/status").read_text()
print("peak", int(status.partition("VmHWM:")[2].split()[0]) * 1024)
sys.exit(code)
"""
LOAD = """
import sys
from pathlib import Path
import torch
from wemoe_pl import load
model = load(sys.argv[1])
with torch.no_grad():
    features = model.encode(torch.randn(2, 3, 224, 224).bfloat16())
assert features.isfinite().all()
status = Path("/proc/self/status").read_text()
print("peak", int(status.partition("VmHWM:")[2].split()[0]) * 1024)
"""


def fill(root: Path, model: str, tasks: Sequence[str]) -> None:
    """Write the pretrained model, and the experts and datasets of tasks, to the folder of a hub."""
    name, shape = MODELS[model]
    folder = root / "models" / "openai" / name
    full = {"image_size": 224, "text_layers": 12, "text_heads": shape["text_width"] // 64}
    pretrained = write_clip(folder, 0, **shape, **full, dtype=torch.float32)
    for seed, task in enumerate(tasks, start=1):
        expert = f"{name}_{EXPERT_NAMES.get(task, task)}"
        write_expert(root / "models" / "tanganke" / expert, folder, seed)
    del pretrained
    write_datasets(root, {task: PaperTask(task).classes for task in tasks})


def write_heads(folder: Path, tasks: Sequence[str], dim: int) -> dict[str, str]:
    """Write a random head per task, and return their files."""
    files = {task: str(folder / f"{task}.safetensors") for task in tasks}
    for task, path in files.items():
        classes = PaperTask(task).classes
        save_head(Path(path), CosineHead(torch.randn(len(classes), dim), classes, 100.0), {})
    return files


def write_run(folder: Path, suite: Suite) -> Path:
    """Write the folder of a run without adaptation: its config is all that `export` needs."""
    merge = {"init_args": {"merge": describe(WEMoE())}}
    folder.mkdir()
    config = {"suite": describe(suite), "model": merge}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def run(arguments: list[str], environment: dict[str, str]) -> list[str]:
    """Run a Python process, and return the lines that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", *arguments],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def main() -> None:
    """Measure the memory, and print what was seen."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--config", default="adapt_vitb32.yaml", help="one that adapts on CLIP")
    parser.add_argument("--build-only", action="store_true")
    parser.add_argument("--export", action="store_true")
    options = parser.parse_args()
    suite_file = yaml.safe_load(Path(find_config(options.config)).read_text())["suite"]
    suite = read_suite(find_config(suite_file))
    model, tasks = suite_file.split("_")[1].removesuffix(".yaml"), list(suite.experts)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        fill(place / "hub", model, tasks)
        heads = write_heads(place / "heads", tasks, int(MODELS[model][1]["embed_dim"]))
        with LoopbackHub(place / "hub") as hub:
            environment = {
                "HF_ENDPOINT": hub.endpoint,
                "HF_HOME": str(place / "cache"),
                "HF_HUB_OFFLINE": "0",
                "WEMOE_PL_CACHE": str(place / "wemoe_pl"),
            }
            if options.export:
                source = write_run(place / "run", replace(suite, heads=heads))
                arguments = [
                    "export",
                    str(source),
                    "--format",
                    "bundle",
                    "--out",
                    f"{place}/bundle",
                ]
                print("\n".join(run([RUN, *arguments, "--precision", "bfloat16"], environment)))
                print("load", *run([LOAD, f"{place}/bundle"], environment))
                return
            built = json.loads(run([BUILD, suite_file], environment)[-1])
            built["peak / model"] = round(built["peak"] / built["model"], 3)
            print("build", built, flush=True)
            if options.build_only:
                return
            arguments = ["fit", "--config", options.config, "--out", f"{place}/run"]
            arguments += ["--suite.heads", json.dumps(heads), "--trainer.max_steps", "2"]
            arguments += ["--trainer.limit_val_batches", "0", "--data.num_workers", "0"]
            lines = run([RUN, *arguments], environment)
            print("\n".join(lines))


if __name__ == "__main__":
    main()
