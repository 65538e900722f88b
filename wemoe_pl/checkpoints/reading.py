"""Read tensors from files of any format without running what is in them."""

import pickle
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from wemoe_pl.checkpoints.archives import check_archive
from wemoe_pl.checkpoints.nesting import state_dict_in
from wemoe_pl.checkpoints.sources import weight_files
from wemoe_pl.checkpoints.state import LazyState
from wemoe_pl.errors import CheckpointError

ZIP_START = b"PK\x03\x04"  # the first bytes of an archive of torch.save
PICKLE_START = b"\x80"
# DataParallel, torch.compile, FSDP and activation checkpointing add these names to keys.
WRAPPER = re.compile(
    r"(?<![^.])(module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
# The first bytes of files that often lie in the place of weights, and the advice about each.
OTHERS = {
    b"version h": "is a Git LFS pointer instead of the file itself: run `git lfs pull` there",
    b"\x89HDF": "is in HDF5, the format of Keras: use the weights that are published for PyTorch",
    b"GGUF": "is in GGUF, the format of llama.cpp: use the weights that are published for PyTorch",
}
EXTRACT = (
    "where you trust it, read it with the program that wrote it and save the state dict alone, "
    "with safetensors.torch.save_file(model.state_dict(), 'encoder.safetensors')"
)
UNPACKED = f"give it as torch.save writes it; if it is a TorchScript archive, {EXTRACT}"


class Weights(LazyState):
    """`Weights` maps the keys of one or several files to their tensors, in float32.

    Attributes:
        name: the name of the file or source in error messages.
        metadata: the metadata of a single safetensors file; otherwise empty.
    """

    def __init__(
        self,
        name: str,
        shapes: Mapping[str, torch.Size],
        read: Callable[[str], Tensor],
        metadata: Mapping[str, str],
    ):
        super().__init__(shapes, read)
        self.name = name
        self.metadata = dict(metadata)

    @property
    def as_stored(self) -> LazyState:
        """Return the tensors in the precision that they have in the file."""
        return LazyState(self.shapes, self._checked)

    def __getitem__(self, key: str) -> Tensor:
        tensor = self._checked(key)
        if tensor.dtype.itemsize == 1:
            raise self._quantised(key, tensor)
        return tensor.float() if tensor.is_floating_point() else tensor

    def _quantised(self, key: str, tensor: Tensor) -> CheckpointError:
        return CheckpointError(
            f"{self.name} is quantised ('{key}' is of {tensor.dtype}): use the weights in "
            "float32, float16 or bfloat16."
        )

    def _checked(self, key: str) -> Tensor:
        """Read a tensor; refuse one that is sparse, complex, of 8-bit floats, or not finite."""
        tensor = super().__getitem__(key)
        if tensor.layout != torch.strided:
            raise CheckpointError(f"{self.name} has a sparse '{key}': save it as a dense tensor.")
        if tensor.dtype.itemsize == 1 and tensor.is_floating_point():
            raise self._quantised(key, tensor)
        if tensor.is_complex():
            raise CheckpointError(f"{self.name} has complex weights in '{key}': use real ones.")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(
                f"{self.name} has NaN or infinite weights in '{key}': the training that made it "
                "diverged; use an earlier checkpoint."
            )
        return tensor


def open_weights(source: str, own_name: str) -> Weights:
    """Open the weights of a source; each tensor is read when it is used.

    Args:
        source: the same as for `weight_files`.
        own_name: the same as for `weight_files`.

    Raises:
        CheckpointError: a file is truncated, empty, damaged, or a pickle of more than tensors.
    """
    files = [open_file(path) for path in weight_files(source, own_name)]
    return without_wrappers(files[0] if len(files) == 1 else joined(source, files))


def joined(name: str, files: Sequence[Weights]) -> Weights:
    """Join several files, so that their tensors seem to be in one."""
    homes = {key: file for file in files for key in file}
    shapes = {key: file.shapes[key] for key, file in homes.items()}
    return Weights(name, shapes, lambda key: homes[key][key], {})


def without_wrappers(weights: Weights) -> Weights:
    """Return the tensors by the keys that they have in a model without wrappers.

    >>> shapes = {"module.blocks.0._orig_mod.norm.bias": torch.Size([2])}
    >>> list(without_wrappers(Weights("vit.pt", shapes, torch.zeros, {})))
    ['blocks.0.norm.bias']
    """
    keys = {WRAPPER.sub("", key): key for key in weights}
    if len(keys) < len(weights) or list(keys) == list(weights):
        return weights  # one model with and without a wrapper, or no wrapper
    shapes = {key: weights.shapes[wrapped] for key, wrapped in keys.items()}
    return Weights(weights.name, shapes, lambda key: weights[keys[key]], weights.metadata)


def open_file(path: Path) -> Weights:
    """Open one file, whose first bytes tell its format."""
    with path.open("rb") as file:
        start = file.read(9)
    # A safetensors file begins with the length of its header, in 8 bytes, and then with `{`. In one
    # of 32 files, the first of these bytes is the same as in a pickle.
    is_pickle = start.startswith(PICKLE_START) and not start.endswith(b"{")
    is_zip = start.startswith(ZIP_START)
    for beginning, sentence in OTHERS.items():
        if start.startswith(beginning):
            raise CheckpointError(f"{path} {sentence}.")
    return open_pickle(path, is_zip) if is_zip or is_pickle else open_safetensors(path)


def open_safetensors(path: Path) -> Weights:
    """Open a safetensors file; it is mapped to memory only while one of its tensors is in use."""

    def read(key: str) -> Tensor:
        try:
            with safe_open(path, framework="pt") as file:
                return file.get_tensor(key)
        except (SafetensorError, AttributeError) as error:  # such as a type that torch lacks
            raise CheckpointError(f"{path} has no readable '{key}' ({error}).") from error

    try:
        with safe_open(path, framework="pt") as file:
            keys = list(file.keys())
            shapes = {key: torch.Size(file.get_slice(key).get_shape()) for key in keys}
            metadata = file.metadata() or {}
    except SafetensorError as error:
        what = "is empty" if not path.stat().st_size else f"is damaged or has no weights ({error})"
        raise CheckpointError(f"{path} {what}: copy or download it again.") from error
    return Weights(str(path), shapes, read, metadata)


def open_pickle(path: Path, is_zip: bool) -> Weights:
    """Open the state dict in a file of torch.save, without running code that is in the file.

    Args:
        path: the file.
        is_zip: True if the file is an archive, which can be mapped to memory.
    """
    misnamed = path.suffix == ".safetensors"  # torch would choose the format by the name
    if is_zip:
        check_archive(path, UNPACKED)
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are harmless, or an error below says the same
            loaded: Any = torch.load(
                file if misnamed else path,
                map_location="cpu",
                weights_only=True,
                mmap=is_zip and not misnamed,
            )
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is a pickle that holds more than tensors, and loading it can run code: "
            f"{EXTRACT}."
        ) from error
    except Exception as error:  # torch raises errors of many kinds
        raise CheckpointError(
            f"{path} is damaged or has no weights: copy or download it again; if it is a "
            f"TorchScript archive, {EXTRACT}."
        ) from error
    tensors = state_dict_in(loaded, str(path))
    for key, tensor in tensors.items():
        if not is_whole(tensor):
            raise CheckpointError(
                f"{path} has a '{key}' that is not a plain tensor with all its values in the file: "
                f"{EXTRACT}."
            )
    shapes = {key: tensor.shape for key, tensor in tensors.items()}
    return Weights(str(path), shapes, lambda key: tensors[key].detach(), {})


def is_whole(tensor: Tensor) -> bool:
    """Return whether a tensor is a plain one in memory, with no more values than its storage.

    A view can claim to repeat one value any number of times.
    """
    if type(tensor) not in (Tensor, nn.Parameter) or tensor.is_nested or not tensor.is_cpu:
        return False
    if tensor.layout != torch.strided:
        return True  # `Weights` refuses it when it is read
    return tensor.numel() * tensor.itemsize <= tensor.untyped_storage().nbytes()
