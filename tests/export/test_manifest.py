"""Manifests: what they say, and which are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wemoe_pl.errors import CheckpointError
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.formats import export
from wemoe_pl.export.loading import load
from wemoe_pl.export.manifest import MANIFEST, VERSION, read_manifest
from wemoe_pl.merging import MergeMethod, WEMoE
from wemoe_pl.system.files import sha256


@pytest.fixture
def bundle(make_model: Callable[[MergeMethod], ExportedModel], exports: Path) -> Path:
    """The folder of a bundle."""
    export(make_model(WEMoE(router_depth=1)), "bundle", exports, lambda line: None)
    return exports


def rewrite(folder: Path, **changes: Any) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_manifest_says_what_is_there_and_how_it_was_made(
    bundle: Path, make_model: Callable[[MergeMethod], ExportedModel]
) -> None:
    model, manifest = make_model(WEMoE(router_depth=1)), read_manifest(bundle / MANIFEST)
    assert (manifest.format, manifest.version, manifest.precision) == ("bundle", VERSION, "float32")
    assert manifest.files == {"bundle.safetensors": sha256(bundle / "bundle.safetensors")}
    assert manifest.recipe == model.recipe
    assert manifest.sources == model.sources
    assert manifest.experts == ["cars", "mnist"]
    assert manifest.heads["cars"]["logit_scale"] == 10.0
    assert manifest.heads["mnist"]["logit_scale"] is None
    assert manifest.architecture["experts"] == 2
    assert manifest.architecture["router_depth"] == 1
    assert manifest.results is not None
    assert manifest.results["accuracy"] == {"cars": 0.5, "mnist": 0.875}
    assert "torch" in manifest.versions


def test_a_later_form_asks_for_a_later_program(bundle: Path) -> None:
    rewrite(bundle, version=VERSION + 1, format="something new", files="told otherwise")
    with pytest.raises(
        CheckpointError,
        match=rf"wemoe_pl\.json was written by a later wemoe-pl \(its form is {VERSION + 1}, and "
        rf"this one reads up to {VERSION}\): upgrade wemoe_pl\.$",
    ):
        load(bundle)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"version": "1"}', "{}", "[" * 10000])
def test_what_is_no_manifest_is_refused(bundle: Path, text: str) -> None:
    (bundle / MANIFEST).write_text(text)
    with pytest.raises(CheckpointError, match=r"wemoe_pl\.json is damaged or no manifest"):
        load(bundle)


@pytest.mark.parametrize(
    "part", ["format", "files", "recipe", "sources", "architecture", "heads", "experts"]
)
def test_every_part_is_of_its_kind(bundle: Path, part: str) -> None:
    rewrite(bundle, **{part: 7})
    with pytest.raises(CheckpointError, match=rf"wemoe_pl\.json has no '{part}': export the model"):
        load(bundle)


@pytest.mark.parametrize("name", ["../bundle.safetensors", "/etc/passwd", "a\\b", "..", ""])
def test_files_elsewhere_are_none_of_it(bundle: Path, name: str) -> None:
    rewrite(bundle, files={name: "0" * 64})
    with pytest.raises(CheckpointError, match="which is outside its folder"):
        load(bundle)


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": {"backbone": "vit_base_patch32_clip_quickgelu_224"}},
        {"architecture": {"kind": 1}},
        {"experts": ["cars"]},
        {"architecture": {"backbone": "vit_giant_patch14_224", "experts": 0}},
        {"heads": {"dtd": {"classes": ["a"], "logit_scale": None}}},
        {"heads": {"cars": {}}},
        {"heads": {"cars": {"classes": ["a"], "logit_scale": 1.0}}},
    ],
)
def test_a_manifest_of_another_file_is_refused(bundle: Path, changes: dict[str, Any]) -> None:
    rewrite(bundle, **changes)
    with pytest.raises(CheckpointError, match=r"bundle\.safetensors is not what|one vector per c"):
        load(bundle)
