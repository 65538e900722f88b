"""List the formats of exports: how each is written and read back, and which packages it needs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from wemoe_pl.checkpoints import State
from wemoe_pl.export.adapter import adapter_features, write_adapter
from wemoe_pl.export.bundle import bundle_features, bundled, write_bundle
from wemoe_pl.export.compiled import check_compiler, open_compiled, write_compiled
from wemoe_pl.export.exported import IMAGES, ExportedModel
from wemoe_pl.export.hf_clip import hf_features, plain_clip, write_hf
from wemoe_pl.export.lora import ExportedLoRA, peft_features, thin_matrices_of, write_peft
from wemoe_pl.export.programs import Run, open_onnx, open_program, write_onnx, write_program
from wemoe_pl.export.timm_folder import timm_features, write_timm


@dataclass(frozen=True)
class Format:
    """A `Format` says how a model is written as an export, and read back to be compared.

    A template for the model card, `assets/loading/FORMAT.py.jinja`, shows how others load it.

    Args:
        write: a function that writes a model into an empty folder.
        open: a function that returns the model in that folder as a function of images, whose
            outputs are those of `AllTasks`, or the features alone.
        library: the library that loads it, as the hub calls it.
        prepare: a function that returns the model as the format holds it; it raises `MergeError`
            if the format cannot.
        needs: the packages that are needed, which `wemoe_pl[export]` installs.
        check_tools: a function that raises `ConfigError` if another program is missing.
        batches: the sizes of the batches by which both are compared.
        has_heads: True if the format holds the heads of the tasks.
        builds_encoder: True if loading builds the encoder anew, which only works for plain and
            upscaled ones.
        is_loaded_here: True if `wemoe_pl.load` reads it.
        tensors: a function that returns all tensors that are written.
    """

    write: Callable[[ExportedModel, Path], None]
    open: Callable[[Path], Run]
    library: str = "wemoe_pl"
    prepare: Callable[[ExportedModel], ExportedModel] = lambda model: model
    needs: tuple[str, ...] = ()
    check_tools: Callable[[], None] = lambda: None
    batches: tuple[int, ...] = (IMAGES,)
    has_heads: bool = True
    builds_encoder: bool = False
    is_loaded_here: bool = False
    tensors: Callable[[ExportedModel], State] = bundled


def by_features(features: Callable[[Path, Tensor], Tensor]) -> Callable[[Path], Run]:
    """Return the function `open` of a format of encoders, given one that computes features.

    Args:
        features: a function that computes the features of images by the model in a folder.
    """
    return lambda folder: lambda images: (features(folder, images),)


OF_PROGRAMS = (IMAGES, 1)  # two batches, since tracing may have fixed a size
FORMATS_BY_NAME = {
    "adapter": Format(
        write_adapter,
        by_features(adapter_features),
        is_loaded_here=True,
        tensors=lambda model: model.adapted,
    ),
    "bundle": Format(
        write_bundle, by_features(bundle_features), builds_encoder=True, is_loaded_here=True
    ),
    "timm": Format(
        write_timm, by_features(timm_features), "timm", has_heads=False, builds_encoder=True
    ),
    "hf": Format(
        write_hf,
        by_features(hf_features),
        "transformers",
        plain_clip,
        needs=("transformers",),
        has_heads=False,
        builds_encoder=True,
    ),
    "peft": Format(
        write_peft,
        by_features(peft_features),
        "peft",
        ExportedLoRA.of,
        needs=("peft",),
        has_heads=False,
        builds_encoder=True,
        tensors=thin_matrices_of,
    ),
    "onnx": Format(
        write_onnx,
        open_onnx,
        "onnx",
        prepare=ExportedModel.unpacked,
        needs=("onnx", "onnxscript", "onnxruntime"),
        batches=OF_PROGRAMS,
    ),
    "torch-export": Format(write_program, open_program, batches=OF_PROGRAMS),
    "aoti": Format(write_compiled, open_compiled, check_tools=check_compiler, batches=OF_PROGRAMS),
}
