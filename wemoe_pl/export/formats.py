"""The formats of exports, and the one way in which all of them are written: checked, then moved."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from wemoe_pl.errors import CheckpointError, ConfigError
from wemoe_pl.export.adapter import read_adapter, write_adapter
from wemoe_pl.export.bundle import bundled, read_bundle, write_bundle
from wemoe_pl.export.exported import Subject
from wemoe_pl.export.hf_clip import hf_features, plain_clip, write_hf
from wemoe_pl.export.manifest import MANIFEST, Manifest, read_manifest
from wemoe_pl.export.programs import onnx_features, program_features, write_onnx, write_program
from wemoe_pl.export.timm_folder import timm_features, write_timm
from wemoe_pl.system.disk_space import size_in_words
from wemoe_pl.system.files import atomic_folder

# By how much features may differ, where the largest is 1: rounding, in another order of sums.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}


def as_it_is(subject: Subject) -> Subject:
    """A model that a format holds as it is."""
    return subject


@dataclass(frozen=True)
class Format:
    """How a model is written, and read back to be compared.

    Args:
        write: writes a model into an empty folder.
        features: what is read from that folder gives for images.
        prepare: gives the model as the format holds it; raises `MergeError` if it cannot.
        needs: packages that are installed as `wemoe_pl[export]`.
    """

    write: Callable[[Subject, Path], None]
    features: Callable[[Path, Tensor], Tensor]
    prepare: Callable[[Subject], Subject] = as_it_is
    needs: tuple[str, ...] = ()


@torch.no_grad()
def adapter_features(folder: Path, images: Tensor) -> Tensor:
    """What the model gives that is made again by an adapter."""
    manifest = read_manifest(folder / MANIFEST)
    return read_adapter(folder, manifest).classifier.encode(images)


@torch.no_grad()
def bundle_features(folder: Path, images: Tensor) -> Tensor:
    """What the model in a bundle gives."""
    return read_bundle(folder, read_manifest(folder / MANIFEST)).encode(images)


FORMATS = {
    "adapter": Format(write_adapter, adapter_features),
    "bundle": Format(write_bundle, bundle_features),
    "timm": Format(write_timm, timm_features),
    "hf": Format(write_hf, hf_features, plain_clip, ("transformers",)),
    "onnx": Format(
        write_onnx, onnx_features, Subject.unpacked, ("onnx", "onnxscript", "onnxruntime")
    ),
    "torch-export": Format(write_program, program_features),
}


def export(subject: Subject, name: str, out: Path, say: Callable[[str], None] = print) -> float:
    """Write a model in one of the formats, read it back, and compare the features of both.

    Args:
        subject: the model.
        name: of the format.
        out: the folder, of which nothing is changed unless all goes well.
        say: is told how large the files will be, and how it went.

    Returns:
        The largest difference of a feature.

    Raises:
        ConfigError: a package is missing.
        CheckpointError: what was read back is not what was written.
        WeMoEError: the format cannot hold the model, or the folder cannot be written to.
    """
    chosen = FORMATS[name]
    subject.check_is_one_model()
    for package in chosen.needs:
        if find_spec(package) is None:
            raise ConfigError(
                f"The format {name} needs {package}: install it with `pip install "
                "'wemoe_pl[export]'`."
            )
    subject = chosen.prepare(subject)
    size = size_of(subject, name)
    say(f"{out} will take {size_in_words(size)}.")
    with atomic_folder(out, MANIFEST) as folder:
        chosen.write(subject, folder)
        Manifest.of(subject, name, folder).write(folder)
        difference = compare(subject, chosen.features(folder, subject.images))
    say(f"Read back, its features differ by at most {difference:.1e} from the model's.")
    return difference


def size_of(subject: Subject, name: str) -> int:
    """Bytes of the tensors that a format holds."""
    tensors = subject.adapted if name == "adapter" else bundled(subject)
    return sum(tensor.nbytes for tensor in tensors.values())


def compare(subject: Subject, features: Tensor) -> float:
    """The largest difference between a model's features and those of what was read back.

    Raises:
        CheckpointError: it is too large.
    """
    own = subject.features
    difference = largest_difference(features, own)
    allowed = TOLERANCE[subject.dtype] * max(1.0, own.abs().max().item())
    if not difference <= allowed:
        raise CheckpointError(
            f"What was exported is not the model: read back, its features differ by up to "
            f"{difference:.1e}, and not by at most {allowed:.1e}. Nothing was left."
        )
    return difference


def largest_difference(one: Tensor, other: Tensor) -> float:
    """The largest difference between the numbers of two tensors."""
    if one.shape != other.shape:
        return float("inf")
    return (one.float() - other.float()).abs().max().item()
