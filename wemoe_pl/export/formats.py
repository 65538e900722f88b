"""The formats of exports, and the one way in which all of them are written: checked, then moved."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from wemoe_pl.errors import CheckpointError, ConfigError
from wemoe_pl.export.adapter import adapter_features, write_adapter
from wemoe_pl.export.bundle import bundle_features, bundled, write_bundle
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.hf_clip import hf_features, plain_clip, write_hf
from wemoe_pl.export.manifest import MANIFEST, Manifest
from wemoe_pl.export.programs import onnx_features, program_features, write_onnx, write_program
from wemoe_pl.export.timm_folder import timm_features, write_timm
from wemoe_pl.merging import PerTaskEncoder
from wemoe_pl.system.disk_space import size_in_words
from wemoe_pl.system.folders import atomic_folder

# By how much features may differ, where the largest is 1: rounding, in another order of sums.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}


@dataclass(frozen=True)
class Format:
    """A format of exports: how a model is written, and read back to be compared.

    How others load it is in a template for the model card, `assets/loading/FORMAT.py.jinja`.

    Args:
        write: writes a model into an empty folder.
        features: computes what is read from that folder gives for images.
        library: the library that loads it, as the hub calls it.
        prepare: gives the model as the format holds it; raises `MergeError` if it cannot.
        needs: packages that are installed as `wemoe_pl[export]`.
        has_heads: does the format hold the heads of the tasks?
    """

    write: Callable[[ExportedModel, Path], None]
    features: Callable[[Path, Tensor], Tensor]
    library: str = "wemoe_pl"
    prepare: Callable[[ExportedModel], ExportedModel] = lambda model: model
    needs: tuple[str, ...] = ()
    has_heads: bool = True


FORMATS_BY_NAME = {
    "adapter": Format(write_adapter, adapter_features),
    "bundle": Format(write_bundle, bundle_features),
    "timm": Format(write_timm, timm_features, "timm", has_heads=False),
    "hf": Format(
        write_hf, hf_features, "transformers", plain_clip, needs=("transformers",), has_heads=False
    ),
    "onnx": Format(
        write_onnx,
        onnx_features,
        "onnx",
        prepare=ExportedModel.unpacked,
        needs=("onnx", "onnxscript", "onnxruntime"),
    ),
    "torch-export": Format(write_program, program_features),
}


def export(model: ExportedModel, name: str, out: Path, say: Callable[[str], None] = print) -> float:
    """Write a model in one of the formats, read it back, and compare the features of both.

    Args:
        model: the model.
        name: the name of the format.
        out: the folder, of which nothing is changed unless all goes well.
        say: is told how large the files will be, and how it went.

    Returns:
        The largest difference of a feature.

    Raises:
        ConfigError: a package is missing, or the model has an encoder per task.
        CheckpointError: what was read back is not what was written.
        WeMoEError: the format cannot hold the model, or the folder cannot be written to.
    """
    chosen = FORMATS_BY_NAME[name]
    check_is_one_model(model)
    for package in chosen.needs:
        if find_spec(package) is None:
            raise ConfigError(
                f"The format {name} needs {package}: install it with `pip install "
                "'wemoe_pl[export]'`."
            )
    model = chosen.prepare(model)
    say(f"{out} will take {size_in_words(size_of(model, name))}.")
    with atomic_folder(out, MANIFEST) as folder:
        chosen.write(model, folder)
        Manifest.of(model, name, folder).write(folder)
        difference = check_features(model, chosen.features(folder, model.images))
    say(f"Read back, its features differ by at most {difference:.1e} from the model's.")
    return difference


def check_is_one_model(model: ExportedModel) -> None:
    """Raise `ConfigError` for what has an encoder per task."""
    if isinstance(model.classifier.encoder, PerTaskEncoder):
        raise ConfigError(
            f"{model.merge.label} has an encoder per task, and so is no one model to export: "
            "choose a merge method."
        )


def size_of(model: ExportedModel, name: str) -> int:
    """Count the bytes of the tensors that a format holds."""
    tensors = model.adapted if name == "adapter" else bundled(model)
    return sum(tensor.nbytes for tensor in tensors.values())


def check_features(model: ExportedModel, features: Tensor) -> float:
    """Return the largest difference between a model's features and those of what was read back.

    Raises:
        CheckpointError: it is too large.
    """
    own = model.features
    difference = largest_difference(features, own)
    allowed = TOLERANCE[model.dtype] * max(1.0, own.abs().max().item())
    if not difference <= allowed:
        raise CheckpointError(
            f"What was exported is not the model: read back, its features differ by up to "
            f"{difference:.1e}, and not by at most {allowed:.1e}. Nothing was left."
        )
    return difference


def largest_difference(one: Tensor, other: Tensor) -> float:
    """Return the largest difference between the numbers of two tensors."""
    if one.shape != other.shape:
        return float("inf")
    return (one.float() - other.float()).abs().max().item()
