"""Weights are written whole or not at all."""

import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from wemoe_pl.checkpoints import LazyState, open_weights, save_tensors
from wemoe_pl.errors import CheckpointError, WeMoEError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that is not yet there."""
    return tmp_path / "expert.safetensors"


@pytest.fixture
def weights() -> dict[str, Tensor]:
    """More than 4096 bytes of them."""
    generator = torch.Generator().manual_seed(0)
    return {key: torch.randn(40, 40, generator=generator) for key in ("fc1.weight", "fc2.weight")}


def test_tensors_come_back_as_they_were_saved(path: Path) -> None:
    tensors = {
        "transposed": torch.arange(6.0).reshape(2, 3).T,
        "parameter": nn.Parameter(torch.ones(2)),
        "steps": torch.tensor(2**40 + 1),
        "nothing": torch.zeros(0, 3),
    }
    save_tensors(path, tensors, {"suite": "tiny"}, torch.float32)
    expected = {key: tensor.detach() for key, tensor in tensors.items()}
    torch.testing.assert_close(load_file(path), expected, rtol=0, atol=0)
    loaded = open_weights(str(path), "")
    torch.testing.assert_close(dict(loaded), expected, rtol=0, atol=0)
    assert loaded.metadata == {"suite": "tiny"}


def test_a_precision_is_that_of_floating_point_tensors_only(path: Path) -> None:
    save_tensors(path, {"w": torch.ones(2), "steps": torch.tensor(3)}, {}, torch.float16)
    dtypes = {key: tensor.dtype for key, tensor in load_file(path).items()}
    assert dtypes == {"w": torch.float16, "steps": torch.int64}


def test_a_lazy_state_is_saved_like_any_other(path: Path, weights: dict[str, Tensor]) -> None:
    shapes = {key: tensor.shape for key, tensor in weights.items()}
    save_tensors(path, LazyState(shapes, weights.__getitem__), {})
    torch.testing.assert_close(load_file(path), weights, rtol=0, atol=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_weight_that_is_not_finite_is_not_saved(
    value: float, path: Path, weights: dict[str, Tensor]
) -> None:
    weights["fc2.weight"][0, 0] = value
    with pytest.raises(CheckpointError, match=r"'fc2\.weight' cannot be saved in .*expert\.safete"):
        save_tensors(path, weights, {})
    assert list(path.parent.iterdir()) == []


def test_a_weight_too_large_for_half_precision_is_not_saved(
    path: Path, weights: dict[str, Tensor]
) -> None:
    weights["fc1.weight"][0, 0] = 1e5
    with pytest.raises(CheckpointError, match=r"'fc1\.weight' cannot be saved .*torch\.float16"):
        save_tensors(path, weights, {}, torch.float16)
    assert list(path.parent.iterdir()) == []
    save_tensors(path, weights, {}, torch.bfloat16)
    assert path.is_file()


def test_others_may_read_what_is_written(path: Path, weights: dict[str, Tensor]) -> None:
    save_tensors(path, weights, {})
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let the system refuse to write more bytes into one file, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("existing", [False, True])
def test_weights_that_do_not_fit_on_the_disk_leave_the_folder_as_it_was(
    existing: bool, path: Path, weights: dict[str, Tensor]
) -> None:
    if existing:
        save_tensors(path, {"weight": torch.ones(2)}, {})
    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    complaint = r"Cannot write .*expert\.safetensors: .*File too large.*Free some space"
    with pytest.raises(WeMoEError, match=complaint), files_of_at_most(4096):
        save_tensors(path, weights, {})
    assert {file: file.read_bytes() for file in path.parent.iterdir()} == before
    save_tensors(path, weights, {})
    torch.testing.assert_close(load_file(path), weights, rtol=0, atol=0)
