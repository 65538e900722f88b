"""List the formats of exports: how each is written and read back, and which packages it needs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from wemoe_pl.checkpoints import State
from wemoe_pl.export.adapter import adapter_features, write_adapter
from wemoe_pl.export.bundle import bundle_features, bundled, write_bundle
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.hf_clip import hf_features, plain_clip, write_hf
from wemoe_pl.export.lora import ExportedLoRA, peft_features, thin_matrices_of, write_peft
from wemoe_pl.export.programs import onnx_features, program_features, write_onnx, write_program
from wemoe_pl.export.timm_folder import timm_features, write_timm


@dataclass(frozen=True)
class Format:
    """A `Format` says how a model is written as an export, and read back to be compared.

    A template for the model card, `assets/loading/FORMAT.py.jinja`, shows how others load it.

    Args:
        write: a function that writes a model into an empty folder.
        features: a function that computes the features of images by the model in that folder.
        library: the library that loads it, as the hub calls it.
        prepare: a function that returns the model as the format holds it; it raises `MergeError`
            if the format cannot.
        needs: the packages that are needed, which `wemoe_pl[export]` installs.
        has_heads: True if the format holds the heads of the tasks.
        builds_encoder: True if loading builds the encoder anew, which only works for plain and
            upscaled ones.
        is_loaded_here: True if `wemoe_pl.load` reads it.
        tensors: a function that returns all tensors that are written.
    """

    write: Callable[[ExportedModel, Path], None]
    features: Callable[[Path, Tensor], Tensor]
    library: str = "wemoe_pl"
    prepare: Callable[[ExportedModel], ExportedModel] = lambda model: model
    needs: tuple[str, ...] = ()
    has_heads: bool = True
    builds_encoder: bool = False
    is_loaded_here: bool = False
    tensors: Callable[[ExportedModel], State] = bundled


FORMATS_BY_NAME = {
    "adapter": Format(
        write_adapter,
        adapter_features,
        is_loaded_here=True,
        tensors=lambda model: model.adapted,
    ),
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
    "peft": Format(
        write_peft,
        peft_features,
        "peft",
        ExportedLoRA.of,
        needs=("peft",),
        has_heads=False,
        builds_encoder=True,
        tensors=thin_matrices_of,
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
