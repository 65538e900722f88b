"""Files of any format are read tensor by tensor, and what is in them is never run."""

import json
import pickle
import struct
import warnings
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from wemoe_pl.checkpoints import Weights, load_encoder, open_weights, reading
from wemoe_pl.errors import CheckpointError

Write = Callable[[dict[str, Tensor], Path], None]


def write_safetensors(tensors: dict[str, Tensor], path: Path) -> None:
    save_file(tensors, path)


def write_zip(tensors: dict[str, Tensor], path: Path) -> None:
    torch.save(tensors, path)


def write_legacy(tensors: dict[str, Tensor], path: Path) -> None:
    torch.save(tensors, path, _use_new_zipfile_serialization=False)


FORMATS = pytest.mark.parametrize("write", [write_safetensors, write_zip, write_legacy])


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "weight": torch.randn(3, 2, generator=generator),
        "bias": torch.randn(3, generator=generator),
        "steps": torch.tensor(2**40 + 1),
        "nothing": torch.zeros(0, 3),
    }


def opened(path: Path) -> Weights:
    return open_weights(str(path), "")


# --- formats ---------------------------------------------------------------------------------


@FORMATS
@pytest.mark.parametrize(
    "name", ["vit.safetensors", "vit.bin", "vit.pt", "vit.json", "vit", "0a9f"]
)
def test_the_format_is_told_by_the_first_bytes_whatever_the_name(
    name: str, write: Write, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    write(tensors, tmp_path / name)
    weights = opened(tmp_path / name)
    assert weights.shapes == {key: tensor.shape for key, tensor in tensors.items()}
    torch.testing.assert_close(dict(weights), tensors, rtol=0, atol=0)


@FORMATS
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_read_as_float32_with_equal_values(
    dtype: torch.dtype, write: Write, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    write({"weight": tensors["weight"].to(dtype)}, tmp_path / "vit.bin")
    weight = opened(tmp_path / "vit.bin")["weight"]
    assert weight.dtype == torch.float32
    assert torch.equal(weight, tensors["weight"].to(dtype).float())


@pytest.mark.parametrize("name", ["head.safetensors", "0a9f"])
def test_safetensors_that_begin_like_a_pickle_are_read(name: str, tmp_path: Path) -> None:
    """They begin with the length of their header: one in 32 has the first byte of a pickle."""
    path = tmp_path / name
    for length in range(0, 256, 8):
        save_file({"weight": torch.ones(2)}, path, {"padding": "x" * length})
        if path.read_bytes().startswith(b"\x80"):
            break
    assert path.read_bytes().startswith(b"\x80")
    weights = opened(path)
    assert torch.equal(weights["weight"], torch.ones(2))
    assert weights.metadata == {"padding": "x" * length}


def test_parameters_are_read_as_plain_tensors(tmp_path: Path) -> None:
    torch.save(dict(nn.Linear(2, 3).named_parameters()), tmp_path / "vit.bin")
    assert not opened(tmp_path / "vit.bin")["weight"].requires_grad


@pytest.mark.parametrize("path", [["state_dict"], ["model"], ["model_state_dict"]])
@pytest.mark.parametrize("twice", [False, True])
def test_what_training_scripts_nest_is_found(
    twice: bool, path: list[str], tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    content: dict[str, Any] = tensors
    for key in [*path, "state_dict"] if twice else path:
        content = {"epoch": 9, "optimizer": {"lr": 0.1}, "ema": torch.zeros(7), key: content}
    torch.save(content, tmp_path / "last.ckpt")
    torch.testing.assert_close(dict(opened(tmp_path / "last.ckpt")), tensors, rtol=0, atol=0)


def test_only_tensors_of_a_state_dict_count(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({**tensors, "version": 3, "note": "trained"}, tmp_path / "vit.pt")
    assert list(opened(tmp_path / "vit.pt")) == list(tensors)


# --- laziness --------------------------------------------------------------------------------


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys that safetensors is asked for."""
    keys: list[str] = []

    class Counted:
        def __init__(self, path: Path, framework: str):
            self.file: Any = safe_open(path, framework)

        def __enter__(self) -> "Counted":
            self.file.__enter__()
            return self

        def __exit__(self, *error: Any) -> None:
            self.file.__exit__(*error)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def get_tensor(self, key: str) -> Tensor:
            keys.append(key)
            return self.file.get_tensor(key)

    monkeypatch.setattr(reading, "safe_open", Counted)
    return keys


def test_nothing_is_read_until_it_is_asked_for(
    read: list[str], tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    save_file(tensors, tmp_path / "vit.safetensors")
    weights = opened(tmp_path / "vit.safetensors")
    assert "weight" in weights
    assert "head" not in weights
    assert weights.shapes["bias"] == (3,)
    assert read == []
    assert torch.equal(weights["bias"], tensors["bias"])
    assert read == ["bias"]


def test_of_shards_only_the_one_with_the_key_is_read(
    read: list[str], tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    index = write_shards(tensors, tmp_path)
    weights = opened(index)
    assert read == []
    assert torch.equal(weights["steps"], tensors["steps"])
    assert read == ["steps"]


def test_a_nan_is_found_when_its_tensor_is_read(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    tensors["bias"][1] = torch.nan
    save_file(tensors, tmp_path / "vit.safetensors")
    weights = opened(tmp_path / "vit.safetensors")
    assert torch.equal(weights["weight"], tensors["weight"])
    with pytest.raises(CheckpointError, match="NaN"):
        weights["bias"]


# --- shards ----------------------------------------------------------------------------------


def write_shards(tensors: dict[str, Tensor], folder: Path) -> Path:
    """One file per tensor, and their index."""
    names = {
        key: f"model-0000{i}-of-0000{len(tensors)}.safetensors" for i, key in enumerate(tensors)
    }
    for key, name in names.items():
        save_file({key: tensors[key]}, folder / name)
    index = folder / "model.safetensors.index.json"
    index.write_text(f'{{"weight_map": {names}}}'.replace("'", '"'))
    return index


def test_shards_are_read_as_one(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    index = write_shards(tensors, tmp_path)
    for source in (index, tmp_path):
        weights = opened(source)
        assert weights.name == str(source)
        assert weights.shapes == {key: tensor.shape for key, tensor in tensors.items()}
        torch.testing.assert_close(dict(weights), tensors, rtol=0, atol=0)


def test_a_damaged_shard_is_named(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    index = write_shards(tensors, tmp_path)
    shard = tmp_path / "model-00001-of-00004.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"model-00001-of-00004\.safetensors is damaged"):
        opened(index)


def test_a_nan_in_a_shard_is_told_with_the_shard(
    tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    tensors["bias"][1] = torch.nan
    weights = opened(write_shards(tensors, tmp_path))
    with pytest.raises(
        CheckpointError, match=r"model-00001-of-00004\.safetensors has NaN .*'bias'"
    ):
        weights["bias"]


# --- what is no good -------------------------------------------------------------------------


@FORMATS
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_weight_that_is_not_finite_is_named_with_its_file(
    value: float, dtype: torch.dtype, write: Write, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    tensors["bias"][1] = value
    write({"bias": tensors["bias"].to(dtype)}, tmp_path / "expert.bin")
    complaint = r"expert\.bin has NaN or infinite weights in 'bias': .*use an earlier checkpoint"
    with pytest.raises(CheckpointError, match=complaint):
        opened(tmp_path / "expert.bin")["bias"]


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e4m3fn])
@pytest.mark.parametrize("write", [write_safetensors, write_zip])
def test_quantised_weights_are_not_taken_for_what_they_stand_for(
    write: Write, dtype: torch.dtype, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    write({**tensors, "weight": tensors["weight"].to(dtype)}, tmp_path / "expert.bin")
    weights = opened(tmp_path / "expert.bin")
    assert torch.equal(weights["bias"], tensors["bias"])
    complaint = rf"expert\.bin is quantised \('weight' is of {dtype}\): use the weights in float32"
    with pytest.raises(CheckpointError, match=complaint):
        weights["weight"]


@pytest.mark.parametrize("kept", [1, 7, 9, 100, -1])
def test_truncated_safetensors_are_damaged(
    kept: int, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "expert.safetensors"
    save_file(tensors, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"expert\.safetensors is damaged .*copy or download"):
        opened(path)


@pytest.mark.parametrize("write", [write_zip, write_legacy])
@pytest.mark.parametrize("kept", [4, 100, -100, -1])
def test_truncated_archives_of_torch_are_damaged(
    kept: int, write: Write, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "expert.bin"
    write(tensors, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"expert\.bin is .*"):
        dict(opened(path))


@pytest.mark.parametrize("name", ["expert.safetensors", "expert.bin"])
def test_an_empty_file_is_called_empty(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(CheckpointError, match=rf"{name} is empty: copy or download it again\."):
        opened(tmp_path / name)


def test_a_page_in_the_place_of_a_file_is_no_weights(tmp_path: Path) -> None:
    (tmp_path / "expert.bin").write_bytes(b"<!DOCTYPE html>")
    with pytest.raises(CheckpointError, match=r"expert\.bin is damaged or has no weights"):
        opened(tmp_path / "expert.bin")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
            "a Git LFS pointer .*pull`",
        ),
        (b"\x89HDF\r\n\x1a\n\0\0", "in HDF5, the format of Keras: use the weights that are pub"),
        (b"GGUF\x03\0\0\0\0", r"in GGUF, the format of llama\.cpp: use the weights that are pub"),
    ],
)
def test_files_of_other_programs_are_named(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"model\.safetensors is {said}"):
        opened(tmp_path / "model.safetensors")


# --- wrappers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrapped",
    [
        "module.blocks.0.norm.bias",
        "_orig_mod.module.blocks.0.norm.bias",
        "blocks.0._orig_mod.norm.bias",
        "_fsdp_wrapped_module.blocks.0._fsdp_wrapped_module.norm.bias",
        "blocks._checkpoint_wrapped_module.0.norm.bias",
    ],
)
def test_wrappers_come_off_a_model_and_its_parts(
    wrapped: str, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    save_file({wrapped: tensors["bias"], "my_module.weight": tensors["weight"]}, tmp_path / "vit")
    weights = opened(tmp_path / "vit")
    assert set(weights) == {"blocks.0.norm.bias", "my_module.weight"}
    assert torch.equal(weights["blocks.0.norm.bias"], tensors["bias"])
    with pytest.raises(KeyError):
        weights[wrapped]


def test_a_model_beside_its_wrapped_copy_is_left_as_it_is(tmp_path: Path) -> None:
    state = {"norm.bias": torch.zeros(2), "module.norm.bias": torch.ones(2)}
    save_file(state, tmp_path / "vit")
    assert set(opened(tmp_path / "vit")) == set(state)


@pytest.mark.parametrize(
    "content", [{}, [torch.ones(2)], torch.ones(2), {"epoch": 3}, {"model": {}}, None], ids=str
)
def test_an_archive_without_tensors_by_name_is_no_state_dict(
    content: object, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "expert.pt")
    with pytest.raises(CheckpointError, match=r"expert\.pt holds no state dict: expected tensors"):
        opened(tmp_path / "expert.pt")


# --- pickles ---------------------------------------------------------------------------------


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


def arm_archive(bomb: Bomb, path: Path) -> None:
    torch.save({"weight": torch.zeros(2), "bomb": bomb}, path)


def arm_nested_archive(bomb: Bomb, path: Path) -> None:
    torch.save({"state_dict": {"weight": torch.zeros(2)}, "callbacks": [bomb]}, path)


def arm_legacy_archive(bomb: Bomb, path: Path) -> None:
    torch.save({"bomb": bomb}, path, _use_new_zipfile_serialization=False)


def arm_pickle(bomb: Bomb, path: Path) -> None:
    path.write_bytes(pickle.dumps({"bomb": bomb}))


def arm_textual_pickle(bomb: Bomb, path: Path) -> None:
    path.write_bytes(pickle.dumps({"bomb": bomb}, protocol=0))


def torch_load(path: Path) -> None:
    with path.open("rb") as file:
        torch.load(file, weights_only=False)


def pickle_load(path: Path) -> None:
    pickle.loads(path.read_bytes())


REASON = (
    r"is a pickle that holds more than tensors, and loading it can run code: where you trust it, "
    r"read it with the program that wrote it and save .*safetensors\.torch\.save_file"
)


@pytest.mark.parametrize("name", ["expert.safetensors", "expert.bin"])
@pytest.mark.parametrize(
    ("arm", "explode", "complaint"),
    [
        (arm_archive, torch_load, REASON),
        (arm_nested_archive, torch_load, REASON),
        (arm_legacy_archive, torch_load, REASON),
        (arm_pickle, pickle_load, REASON),
        (arm_textual_pickle, pickle_load, "is damaged or has no weights"),
    ],
)
def test_a_pickle_is_refused_and_nothing_in_it_is_run(
    arm: Callable[[Bomb, Path], None],
    explode: Callable[[Path], None],
    complaint: str,
    name: str,
    tmp_path: Path,
) -> None:
    path, exploded = tmp_path / name, tmp_path / "exploded"
    arm(Bomb(exploded), path)
    with pytest.raises(CheckpointError, match=rf"{name} {complaint}"):
        load_encoder(str(path), "test_vit")
    assert not exploded.exists()
    explode(path)  # the bomb was live
    assert exploded.exists()


@pytest.mark.parametrize("content", [nn.Linear(1, 1), {"args": Namespace(lr=0.1)}], ids=str)
def test_a_model_or_settings_in_an_archive_are_refused_with_the_way_out(
    content: object, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "expert.pt")
    with pytest.raises(CheckpointError, match=rf"expert\.pt {REASON}"):
        opened(tmp_path / "expert.pt")


def test_a_torchscript_archive_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch advises against TorchScript
        torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "ViT-B-32.pt"))
    complaint = r"is a compressed archive.*if it is a TorchScript archive, where you trust it, read"
    with pytest.raises(CheckpointError, match=complaint):
        opened(tmp_path / "ViT-B-32.pt")


# --- of strangers ----------------------------------------------------------------------------


def test_an_archive_that_is_compressed_is_refused(tmp_path: Path) -> None:
    """A few megabytes would become terabytes; torch.save compresses nothing."""
    torch.save({"weight": torch.zeros(1000, 1000)}, tmp_path / "plain.pt")
    with (
        ZipFile(tmp_path / "plain.pt") as plain,
        ZipFile(tmp_path / "vit.pt", "w", ZIP_DEFLATED) as bomb,
    ):
        for part in plain.infolist():
            bomb.writestr(part.filename, plain.read(part))
    with pytest.raises(CheckpointError, match=r"vit\.pt is a compressed archive"):
        opened(tmp_path / "vit.pt")


@pytest.mark.parametrize(
    "weight",
    [
        torch.zeros(1).expand(2**40),
        torch.zeros(1).expand(1000, 1000),
        torch.zeros(3, device="meta"),
        torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]),
    ],
    ids=["huge", "repeated", "meta", "nested"],
)
def test_a_tensor_without_all_its_values_is_refused(weight: Tensor, tmp_path: Path) -> None:
    torch.save({"weight": weight}, tmp_path / "vit.pt")
    # Versions of torch refuse them in different ways, all of which are told.
    said = r"vit\.pt (has a 'weight' that is not a plain|is damag|is a pickle that holds more)"
    with pytest.raises(CheckpointError, match=said):
        opened(tmp_path / "vit.pt")


def test_complex_weights_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2, dtype=torch.complex64)}, tmp_path / "vit.pt")
    with pytest.raises(CheckpointError, match=r"vit\.pt has complex weights in 'weight'"):
        opened(tmp_path / "vit.pt")["weight"]


class Evil:
    """What a pickle runs when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('it ran')",)


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("name", ["vit.bin", "vit.safetensors"])
def test_a_pickle_that_runs_something_is_refused(name: str, new: bool, tmp_path: Path) -> None:
    content = {"weight": torch.zeros(2), "state_dict": Evil()}
    torch.save(content, tmp_path / name, _use_new_zipfile_serialization=new)
    with pytest.raises(CheckpointError, match="is a pickle that holds more than tensors, and loa"):
        opened(tmp_path / name)


def header(entries: Any, length: int | None = None, body: bytes = bytes(8)) -> bytes:
    """A safetensors file with any header, which may lie about its length."""
    text = entries if isinstance(entries, str) else json.dumps(entries)
    return struct.pack("<Q", len(text) if length is None else length) + text.encode() + body


def entry(dtype: str, shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    "content",
    [
        header({}, 2**63),
        header({}, 2**64 - 1),
        header({"a": entry("F32", [2], 0, 8)}, 10**9),
        header({"a": entry("F32", [2], 0, 2**40)}),
        header({"a": entry("F32", [2], 8, 0)}),
        header({"a": entry("F32", [-2], 0, 8)}),
        header({"a": entry("F32", [2**62, 4], 0, 8)}),
        header({"a": entry("F32", [1], 0, 4), "b": entry("F32", [2], 0, 8)}),
        header({"a": entry("F64", [2], 0, 8)}),
        header({"a": entry("X9", [2], 0, 8)}),
        header('{"a": ' + "[" * 100_000),
        header("[]"),
    ],
    ids=[
        "long", "longest", "beyond", "outside", "backwards", "negative", "overflow", "overlap",
        "size", "type", "deep", "list",
    ],
)  # fmt: skip
def test_a_header_that_lies_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "vit.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"vit\.safetensors is damaged or has no weights"):
        opened(tmp_path / "vit.safetensors")
