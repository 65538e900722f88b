"""Weights are read strictly, in float32, and a file that will not do is named with the reason."""

import pickle
import re
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn

from wemoe_pl.checkpoints import (
    Backbone,
    first_difference,
    load_encoder,
    read_tensors,
    save_tensors,
)
from wemoe_pl.configs import find_config
from wemoe_pl.errors import CheckpointError, ConfigError, WeMoEError

OPTIONS = {"img_size": 32, "patch_size": 16, "embed_dim": 16, "depth": 2, "num_heads": 2}
BACKBONE = Backbone("vit_tiny_patch16_224", OPTIONS)
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def weights(pretrained: nn.Module) -> dict[str, Tensor]:
    """The weights of `pretrained`, to be changed at will."""
    return {key: tensor.clone() for key, tensor in pretrained.state_dict().items()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that is not yet there."""
    return tmp_path / "expert.safetensors"


def assert_same(actual: nn.Module, expected: nn.Module) -> None:
    torch.testing.assert_close(actual.state_dict(), expected.state_dict(), rtol=0, atol=0)


# --- the backbone ----------------------------------------------------------------------------


def test_a_backbone_ends_in_features_unless_classes_are_given() -> None:
    assert BACKBONE.build()(IMAGES).shape == (2, BACKBONE.feature_dim) == (2, 16)
    with_head = Backbone(BACKBONE.model, {**OPTIONS, "num_classes": 5})
    assert with_head.build()(IMAGES).shape == (2, with_head.feature_dim) == (2, 5)


def test_a_backbone_is_built_in_evaluation_mode() -> None:
    assert not any(module.training for module in BACKBONE.build().modules())


def test_a_misspelt_timm_model_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no model 'vit_tinny_.*Did you mean vit_tiny_patch16_2"):
        Backbone("vit_tinny_patch16_224").build()


def test_a_model_that_is_like_none_of_timms_is_refused_without_a_guess() -> None:
    with pytest.raises(ConfigError, match=r"^timm has no model '§'\. timm\.list_models\(\) gives"):
        Backbone("§").build()


@pytest.mark.parametrize(
    "wrong",
    [{"img_sizee": 32}, {"num_heads": 3}, {"num_heads": 0}, {"depth": -1}, {"act_layer": "relo"}],
    ids=str,
)
def test_options_that_timm_refuses_are_named(wrong: dict[str, Any]) -> None:
    options = OPTIONS | wrong
    complaint = f"The backbone 'vit_tiny_patch16_224' cannot be built with options {options}: "
    with pytest.raises(ConfigError, match="^" + re.escape(complaint)):
        Backbone(BACKBONE.model, options).build()


# --- what is read ----------------------------------------------------------------------------


def test_an_encoder_is_read_from_a_file_or_from_the_folder_around_it(
    tmp_path: Path, pretrained: nn.Module
) -> None:
    save_tensors(tmp_path / "encoder.safetensors", pretrained.state_dict(), {})
    for source in (tmp_path / "encoder.safetensors", tmp_path):
        encoder = load_encoder(str(source), BACKBONE)
        assert_same(encoder, pretrained)
        assert torch.equal(encoder(IMAGES), pretrained(IMAGES))
        assert not encoder.training


def test_a_backbone_may_be_given_by_its_name_alone(path: Path) -> None:
    encoder = timm.create_model("test_vit", num_classes=0)
    save_tensors(path, encoder.state_dict(), {})
    assert_same(load_encoder(str(path), "test_vit"), encoder)


def test_the_miniature_is_shipped() -> None:
    suite = yaml.safe_load(Path(find_config("suites/miniature")).read_text())
    encoder = load_encoder(suite["pretrained"], Backbone(**suite["backbone"]))
    assert_same(encoder, load_encoder("shipped:miniature", Backbone(**suite["backbone"])))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_half_precision_file_is_read_as_float32_with_equal_values(
    dtype: torch.dtype, path: Path, pretrained: nn.Module
) -> None:
    save_tensors(path, pretrained.state_dict(), {}, dtype)
    for key, tensor in load_encoder(str(path), BACKBONE).state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, pretrained.state_dict()[key].to(dtype).float())


def test_tensors_come_back_as_they_were_saved(path: Path) -> None:
    tensors = {
        "transposed": torch.arange(6.0).reshape(2, 3).T,
        "parameter": nn.Parameter(torch.ones(2)),
        "steps": torch.tensor(2**40 + 1),
        "nothing": torch.zeros(0, 3),
    }
    save_tensors(path, tensors, {"suite": "tiny"}, torch.float32)
    loaded, metadata = read_tensors(path)
    torch.testing.assert_close(loaded, {k: t.detach() for k, t in tensors.items()}, rtol=0, atol=0)
    assert metadata == {"suite": "tiny"}


# --- what belongs to another model -----------------------------------------------------------


def test_the_first_differing_key_is_named_with_both_shapes(
    path: Path, weights: dict[str, Tensor]
) -> None:
    weights["norm.weight"] = torch.zeros(17)
    weights["blocks.1.mlp.fc1.weight"] = torch.zeros(64, 15)
    save_tensors(path, weights, {})
    complaint = (
        r"expert\.safetensors does not fit the backbone 'vit_tiny_patch16_224': "
        r"'blocks\.1\.mlp\.fc1\.weight' has shape \(64, 15\) instead of \(64, 16\)\. Use weights"
    )
    with pytest.raises(CheckpointError, match=complaint):
        load_encoder(str(path), BACKBONE)


@pytest.mark.parametrize(
    ("name", "options", "difference"),
    [
        ("vit_tiny_patch16_224", {"depth": 1}, r"'blocks\.1\.norm1\.weight' is missing"),
        ("vit_tiny_patch16_224", {"depth": 3}, r"'blocks\.2\.\S+' is not a part of it"),
        ("vit_tiny_patch16_224", {"num_classes": 5}, r"'head\.\w+' is not a part of it"),
        ("deit_tiny_distilled_patch16_224", {}, r"'pos_embed' has shape \(1, 6, 16\) .*\(1, 5, "),
        ("eva02_tiny_patch14_224", {}, r"'blocks\.0\.attn\.qkv\.bias' is missing"),
    ],
)
def test_an_expert_of_another_architecture_is_refused(
    name: str,
    options: dict[str, int],
    difference: str,
    path: Path,
    tiny_vit: Callable[..., nn.Module],
) -> None:
    save_tensors(path, tiny_vit(1, name, **options).state_dict(), {})
    with pytest.raises(CheckpointError, match=rf"does not fit the backbone .*: {difference}"):
        load_encoder(str(path), BACKBONE)


def test_equal_keys_and_shapes_do_not_differ_in_any_order() -> None:
    reference = {"a": torch.zeros(2), "b": torch.zeros(3)}
    assert first_difference({"b": torch.ones(3), "a": torch.ones(2)}, reference) is None


# --- what is no good -------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_weight_that_is_not_finite_is_named_with_its_file(
    value: float, dtype: torch.dtype, path: Path, weights: dict[str, Tensor]
) -> None:
    weights["blocks.0.mlp.fc2.bias"][3] = value
    save_file({name: weight.to(dtype) for name, weight in weights.items()}, path)
    complaint = r"expert\.safetensors has NaN or infinite weights in 'blocks\.0\.mlp\.fc2\.bias'"
    with pytest.raises(CheckpointError, match=complaint):
        load_encoder(str(path), BACKBONE)


def test_a_weight_too_large_for_half_precision_is_not_saved(
    path: Path, weights: dict[str, Tensor]
) -> None:
    weights["pos_embed"][0, 0, 0] = 1e5
    with pytest.raises(CheckpointError, match=r"'pos_embed' cannot be saved .*torch\.float16"):
        save_tensors(path, weights, {}, torch.float16)
    assert not path.exists()


@pytest.mark.parametrize("kept", [1, 7, 100, -1])
def test_a_truncated_file_is_damaged(kept: int, path: Path, weights: dict[str, Tensor]) -> None:
    save_tensors(path, weights, {})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"expert\.safetensors is damaged .*copy or download"):
        load_encoder(str(path), BACKBONE)


def test_an_empty_file_is_called_empty(path: Path) -> None:
    path.touch()
    with pytest.raises(CheckpointError, match=r"expert\.safetensors is empty: copy or download"):
        load_encoder(str(path), BACKBONE)


def test_a_missing_file_is_answered_with_the_nearest_beside_it(path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no file .*expert\.safetensors\. Check the path"):
        load_encoder(str(path), BACKBONE)
    save_tensors(path.with_name("expert1.safetensors"), {}, {})
    with pytest.raises(CheckpointError, match=r"Did you mean 'expert1\.safetensors'\?"):
        load_encoder(str(path), BACKBONE)


def test_a_folder_without_an_encoder_is_named_with_the_file_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"no file {tmp_path}/encoder\.safetensors"):
        load_encoder(str(tmp_path), BACKBONE)


# --- pickles ---------------------------------------------------------------------------------


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


def write_archive(bomb: Bomb, path: Path) -> None:
    torch.save({"weight": torch.zeros(2), "bomb": bomb}, path)


def write_legacy_archive(bomb: Bomb, path: Path) -> None:
    torch.save({"bomb": bomb}, path, _use_new_zipfile_serialization=False)


def write_pickle(bomb: Bomb, path: Path) -> None:
    path.write_bytes(pickle.dumps({"bomb": bomb}))


def write_textual_pickle(bomb: Bomb, path: Path) -> None:
    path.write_bytes(pickle.dumps({"bomb": bomb}, protocol=0))


def torch_load(path: Path) -> None:
    with path.open("rb") as file:
        torch.load(file, weights_only=False)


def pickle_load(path: Path) -> None:
    pickle.loads(path.read_bytes())


@pytest.mark.parametrize(
    ("write", "explode", "complaint"),
    [
        (write_archive, torch_load, "is a pickle, which can run code .*torch.save_file"),
        (write_legacy_archive, torch_load, "is a pickle, which can run code .*torch.save_file"),
        (write_pickle, pickle_load, "is a pickle, which can run code .*torch.save_file"),
        (write_textual_pickle, pickle_load, "is damaged or no safetensors file"),
    ],
)
def test_a_pickle_is_refused_and_nothing_in_it_is_run(
    write: Callable[[Bomb, Path], None],
    explode: Callable[[Path], None],
    complaint: str,
    path: Path,
    tmp_path: Path,
) -> None:
    exploded = tmp_path / "exploded"
    write(Bomb(exploded), path)
    with pytest.raises(CheckpointError, match=rf"expert\.safetensors {complaint}"):
        load_encoder(str(path), BACKBONE)
    assert not exploded.exists()
    explode(path)  # the bomb was live
    assert exploded.exists()


def test_a_safetensors_file_that_begins_like_a_pickle_is_read(path: Path) -> None:
    """It begins with the length of its header: one file in 32 has the first byte of a pickle."""
    for length in range(0, 256, 8):
        save_tensors(path, {"weight": torch.ones(2)}, {"padding": "x" * length})
        if path.read_bytes().startswith(b"\x80"):
            break
    assert path.read_bytes().startswith(b"\x80")
    assert torch.equal(read_tensors(path)[0]["weight"], torch.ones(2))


# --- saving ----------------------------------------------------------------------------------


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
    torch.testing.assert_close(read_tensors(path)[0], weights, rtol=0, atol=0)
