"""Write and read adapters: the learned weights, and the recipe by which the rest is rebuilt."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from wemoe_pl.checkpoints import open_file, save_tensors
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.manifest import MANIFEST, Manifest, read_manifest
from wemoe_pl.merging.base import NOT_ADAPTED
from wemoe_pl.model.recipe import rebuild
from wemoe_pl.runs.checkpoint import check_sources

ADAPTER_FILE = "adapter.safetensors"


def write_adapter(model: ExportedModel, folder: Path) -> None:
    """Write the learned weights, such as those of routers; a static merge has none."""
    save_tensors(folder / ADAPTER_FILE, model.adapted, {"format": f"see {MANIFEST}"})


def read_adapter(folder: Path, manifest: Manifest, allow: Sequence[str] = ()) -> ExportedModel:
    """Merge the sources again, and load the learned weights.

    Raises:
        CheckpointError: a source is not what it was; the message names it.
        ConfigError: the recipe names something that is not here.
    """
    suite, merge = rebuild(manifest.recipe, allow)
    check_sources(manifest.sources, suite.sources(), str(folder))
    adapted = dict(open_file(folder / ADAPTER_FILE))
    is_adapted = manifest.method is None or not manifest.method.endswith(NOT_ADAPTED)
    known = manifest.results, is_adapted, manifest.measured
    return ExportedModel.assemble(suite, merge, adapted, *known)


def adapter_features(folder: Path, images: Tensor) -> Tensor:
    """Compute the features of images (B, 3, H, W) by the model that an adapter rebuilds."""
    with torch.no_grad():
        return read_adapter(folder, read_manifest(folder / MANIFEST)).classifier.encode(images)
