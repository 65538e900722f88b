"""An adapter is added to the model that it was trained from, or refused."""

import json
import warnings
from pathlib import Path

import pytest
from helpers.lora_adapters import base_encoder

from wemoe_pl.checkpoints import fingerprint
from wemoe_pl.checkpoints.lora_base import check_base
from wemoe_pl.checkpoints.lora_config import LoRAConfig
from wemoe_pl.errors import CheckpointError
from wemoe_pl.system.warn import warn_once

OWN = "encoder.safetensors"


@pytest.fixture(autouse=True)
def every_warning_is_new() -> None:
    warn_once.cache_clear()


def trained_from(folder: Path, base: str | None, revision: str | None = None) -> LoRAConfig:
    """The config of an adapter of this base."""
    path = folder / "adapter_config.json"
    known = {"base_model_name_or_path": base, "revision": revision}
    path.write_text(json.dumps({"peft_type": "LORA", "r": 4, **known}))
    return LoRAConfig.read(path)


@pytest.mark.parametrize(
    ("theirs", "revision", "ours"),
    [
        ("lab/vit", None, "lab/vit"),
        ("lab/vit", None, "lab/vit@v2"),
        ("lab/vit", "v2", "lab/vit@v2"),
        ("shipped:miniature/encoder.safetensors", None, "shipped:miniature/encoder.safetensors"),
    ],
)
def test_the_same_model_is_accepted_in_silence(
    theirs: str, revision: str | None, ours: str, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_base(trained_from(tmp_path, theirs, revision), ours, OWN)


@pytest.mark.parametrize(
    ("theirs", "revision", "ours", "complaint"),
    [
        (
            "lab/vit",
            None,
            "other/vit",
            "trained from lab/vit, and the .* model is other/vit",
        ),
        ("lab/vit", "v1", "lab/vit@v2", "trained from lab/vit@v1, and the .* model is lab/vit@v2"),
        ("lab/vit", "v1", "lab/vit", "trained from lab/vit@v1, and the pretrained model is lab/vi"),
    ],
)
def test_another_model_of_the_hub_is_refused(
    theirs: str, revision: str | None, ours: str, complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=rf"{complaint}.*: choose experts of one base"):
        check_base(trained_from(tmp_path, theirs, revision), ours, OWN)


def test_files_are_compared_by_what_is_in_them(tmp_path: Path) -> None:
    here, copy, other = (tmp_path / f"{name}.safetensors" for name in ("a", "b", "c"))
    base_encoder(here)
    copy.write_bytes(here.read_bytes())
    base_encoder(other, classes=2)
    config = trained_from(tmp_path, str(here))
    check_base(config, str(copy), OWN)
    with pytest.raises(CheckpointError, match=r"trained from \S+a\.safetensors, .* \S+c\.safeten"):
        check_base(config, str(other), OWN)


def test_a_known_fingerprint_decides_alone(tmp_path: Path) -> None:
    base_encoder(tmp_path / "a.safetensors")
    base, config = str(tmp_path / "a.safetensors"), trained_from(tmp_path, "lab/vit")
    check_base(config, base, OWN, fingerprint(base, OWN))
    with pytest.raises(CheckpointError, match="trained from other weights than these"):
        check_base(config, base, OWN, "0" * 64)


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        (None, r"does not name the model .*: it is added to \S+a\.safetensors"),
        ("lab/vit", r"trained from lab/vit, which cannot be compared with \S+a\.safetensors here"),
        ("/gone/vit", r"trained from /gone/vit, which cannot be compared"),
        (".", r"trained from \., which cannot be compared"),
        ("~nobody-of-this-name/vit", r"trained from ~nobody-of-this-name/vit, which cannot be"),
        ("v" * 5000, r"trained from v+, which cannot be compared"),
    ],
)
def test_what_cannot_be_compared_is_said(theirs: str | None, said: str, tmp_path: Path) -> None:
    base_encoder(tmp_path / "a.safetensors")
    with pytest.warns(UserWarning, match=said):
        check_base(trained_from(tmp_path, theirs), str(tmp_path / "a.safetensors"), OWN)
