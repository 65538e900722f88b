"""The formats of exports: how each is written and read back, and what it needs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from wemoe_pl.export.adapter import adapter_features, write_adapter
from wemoe_pl.export.bundle import bundle_features, write_bundle
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.hf_clip import hf_features, plain_clip, write_hf
from wemoe_pl.export.programs import onnx_features, program_features, write_onnx, write_program
from wemoe_pl.export.timm_folder import timm_features, write_timm


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
        builds_encoder: is what is loaded an encoder that is built anew, which only plain and
            upscaled ones are?
        is_loaded_here: does `wemoe_pl.load` read it?
    """

    write: Callable[[ExportedModel, Path], None]
    features: Callable[[Path, Tensor], Tensor]
    library: str = "wemoe_pl"
    prepare: Callable[[ExportedModel], ExportedModel] = lambda model: model
    needs: tuple[str, ...] = ()
    has_heads: bool = True
    builds_encoder: bool = False
    is_loaded_here: bool = False


FORMATS_BY_NAME = {
    "adapter": Format(write_adapter, adapter_features, is_loaded_here=True),
    "bundle": Format(write_bundle, bundle_features, builds_encoder=True, is_loaded_here=True),
    "timm": Format(write_timm, timm_features, "timm", has_heads=False, builds_encoder=True),
    "hf": Format(
        write_hf,
        hf_features,
        "transformers",
        plain_clip,
        needs=("transformers",),
        has_heads=False,
        builds_encoder=True,
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
