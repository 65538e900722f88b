"""Make one of everything that a run leaves, in a folder: `python tests/kept/make.py FOLDER`.

The folder then has a suite with its weights and images, and what this version of the program
makes of it. All paths in it are relative to the folder: who reads it goes there.
"""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import yaml
from datasets import ClassLabel, Dataset, Features
from datasets import Image as ImageColumn
from PIL import Image

from wemoe_pl import CosineHead, PaperTask
from wemoe_pl.checkpoints import save_tensors
from wemoe_pl.checkpoints.heads import save_head

MODEL = "vit_tiny_patch16_224"
OPTIONS: dict[str, Any] = {
    "img_size": 14,
    "patch_size": 7,
    "embed_dim": 8,
    "depth": 2,
    "num_heads": 2,
}
CLASSES = {
    "folder": ("cat", "dog"),
    "parquet": ("ash", "oak", "fir"),
    "mnist": PaperTask("mnist").classes,
    "drawn": PaperTask("svhn").classes,
}
TASKS = {
    "folder": ("ImageFolderTask", {"train": "images/folder", "test": "images/folder"}),
    "parquet": ("ParquetTask", {"dataset": "images/parquet", "train": "*", "test": "*"}),
    "mnist": ("PaperTask", {"name": "mnist", "source": "images/mnist"}),
    "drawn": ("MiniatureTask", {"name": "svhn", "train_size": 10, "test_size": 10}),
}
QUICK = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=true", "--suite=suite.yaml"]
FIT = [*QUICK, "--data.batch_size=2", "--trainer.val_check_interval=2"]
WEMOE = ["--config=adapt_miniature", *FIT]
E_WEMOE = [
    "--model.merge=EWEMoE",
    "--model.merge.init_lambda=0.4",
    "--model.merge.router_depth=1",
    "--model.merge.compression=Pruned",
    "--model.merge.compression.ratio=0.5",
]
CALLBACKS = [
    "--trainer.callbacks=StepProgressBar",
    "--trainer.callbacks+=lightning.pytorch.callbacks.LearningRateMonitor",
]
LOGGERS = ["--trainer.logger=MetricsFile", "--trainer.logger+=WandbRun"]
NAMED_FROM = {  # saved configs, by the shipped config that they are made of
    "finetune": ["--config=finetune_vitb32", "--task=folder", *FIT, *CALLBACKS, *LOGGERS],
    "samples": ["--config=regmean", *QUICK],
    "multitask": ["--config=multitask", *FIT],
    "sharded": [*WEMOE, "--config=trainer/fsdp"],
}


def main(folder: Path) -> None:
    """Make the suite, and then everything of it."""
    folder.mkdir(parents=True)
    os.chdir(folder)
    make_suite()
    program("fit", *WEMOE, *E_WEMOE, "--trainer.max_steps=4", "--out=fitted")
    program("test", "--config=task_arithmetic", *QUICK, "--out=static")
    interrupt("fit", *WEMOE, "--trainer.max_steps=6", "--out=interrupted")
    for form in ("adapter", "bundle", "timm"):
        program("export", "fitted", f"--format={form}", f"--out={form}")
    Path("configs").mkdir()
    for name, options in NAMED_FROM.items():
        text = program("fit", *options, f"--out=runs/{name}", "--print_config")
        Path(f"configs/{name}.yaml").write_text(text)
    keep_small()


def make_suite() -> None:
    """The suite with its weights, its heads and its images."""
    for seed, name in enumerate(("pretrained", *CLASSES)):
        torch.manual_seed(seed)
        encoder = timm.create_model(MODEL, num_classes=0, **OPTIONS)
        for parameter in encoder.parameters():
            torch.nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.2)
        save_tensors(Path(f"{name}.safetensors"), encoder.state_dict(), {})
    for seed, (task, classes) in enumerate(CLASSES.items()):
        weight = torch.randn(len(classes), 8, generator=torch.Generator().manual_seed(seed))
        save_head(Path(f"head_{task}.safetensors"), CosineHead(weight, classes, 10.0), {})
    for task, below in (("folder", ""), ("mnist", "train/"), ("mnist", "test/")):
        for label, name in enumerate(CLASSES[task]):
            for number in range(2):
                path = Path(f"images/{task}/{below}{name}/{number}.png")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(picture(label, number))
    rows = {
        "image": [{"bytes": picture(row, 9), "path": None} for row in range(6)],
        "label": [row % 3 for row in range(6)],
    }
    features = Features(
        {"image": ImageColumn(), "label": ClassLabel(names=list(CLASSES["parquet"]))}
    )
    Path("images/parquet").mkdir()
    Dataset.from_dict(rows, features=features).to_parquet("images/parquet/rows.parquet")
    suite = {
        "name": "of everything",
        "backbone": {"model": MODEL, "options": OPTIONS},
        "pretrained": "pretrained.safetensors",
        "experts": {task: f"{task}.safetensors" for task in CLASSES},
        "heads": {task: f"head_{task}.safetensors" for task in CLASSES},
        "tasks": {t: {"class_path": kind, "init_args": args} for t, (kind, args) in TASKS.items()},
    }
    Path("suite.yaml").write_text(yaml.safe_dump(suite, sort_keys=False))


def picture(*seed: int) -> bytes:
    """A small PNG of noise."""
    pixels = np.random.default_rng(seed).integers(256, size=(6, 6, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def program(*args: str) -> str:
    """What the command line answers."""
    command = [sys.executable, "-m", "wemoe_pl", *args]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def interrupt(*args: str) -> None:
    """Let a fit be asked to end in its fourth step."""
    stop = (
        "import os, signal, sys\n"
        "from wemoe_pl.callbacks.last_checkpoint import LastCheckpoint as Last\n"
        "before = Last.on_before_optimizer_step\n"
        "def then(self, trainer, *others):\n"
        "    before(self, trainer, *others)\n"
        "    trainer.global_step == 3 and os.kill(os.getpid(), signal.SIGTERM)\n"
        "Last.on_before_optimizer_step = then\n"
        "from wemoe_pl.cli.main import main\n"
        "sys.exit(main())\n"
    )
    ended = subprocess.run([sys.executable, "-c", stop, *args], check=False)
    assert ended.returncode == 128 + signal.SIGTERM, ended


def keep_small() -> None:
    """Remove what nobody reads again, such as pictures and curves."""
    for path in sorted(Path().rglob("*"), reverse=True):
        drawn = path.suffix in (".md", ".csv", ".svg", ".pdf") or (
            path.suffix == ".png" and path.parts[0] != "images"
        )
        if path.is_file() and drawn:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
