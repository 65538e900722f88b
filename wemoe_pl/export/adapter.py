"""An adapter: what was learned, and the recipe by which the rest is made again."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from wemoe_pl.checkpoints import open_file, save_tensors
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.manifest import MANIFEST, Manifest, read_manifest
from wemoe_pl.merging import NOT_ADAPTED
from wemoe_pl.model.recipe import rebuild
from wemoe_pl.runs.checkpoint import check_sources

ADAPTER_FILE = "adapter.safetensors"


def write_adapter(model: ExportedModel, folder: Path) -> None:
    """Write the routers, or whatever else was learned; for a static merge, that is nothing."""
    save_tensors(folder / ADAPTER_FILE, model.adapted, {"format": f"see {MANIFEST}"})


def read_adapter(folder: Path, manifest: Manifest, allow: Sequence[str] = ()) -> ExportedModel:
    """Merge the sources anew, and put what was learned in its place.

    Raises:
        CheckpointError: a source is not what it was; names it.
        ConfigError: the recipe names something that is not here.
    """
    suite, merge = rebuild(manifest.recipe, allow)
    check_sources(manifest.sources, suite.sources(), str(folder))
    adapted = dict(open_file(folder / ADAPTER_FILE))
    is_adapted = manifest.method is None or not manifest.method.endswith(NOT_ADAPTED)
    thresholds = manifest.thresholds or {}
    return ExportedModel.assemble(suite, merge, adapted, manifest.results, is_adapted, thresholds)


def adapter_features(folder: Path, images: Tensor) -> Tensor:
    """Compute what the model gives for images (B, 3, H, W) that an adapter makes again."""
    with torch.no_grad():
        return read_adapter(folder, read_manifest(folder / MANIFEST)).classifier.encode(images)
