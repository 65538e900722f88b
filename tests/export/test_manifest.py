"""Manifests: what they say, and which are refused."""

import json
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from wemoe_pl.errors import CheckpointError
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.loading import load
from wemoe_pl.export.manifest import MANIFEST, VERSION, Manifest, read_manifest
from wemoe_pl.export.writing import export
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.system.files import sha256


@pytest.fixture(scope="session")
def exported(
    make_model: Callable[[MergeMethod], ExportedModel], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A bundle, which no test changes."""
    out = tmp_path_factory.mktemp("exported") / "bundle"
    export(make_model(WEMoE(router_depth=1)), "bundle", out, lambda line: None)
    return out


@pytest.fixture
def bundle(exported: Path, exports: Path) -> Path:
    """The folder of a bundle, to be changed."""
    return shutil.copytree(exported, exports)


def rewrite(folder: Path, **changes: Any) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_manifest_says_what_is_there_and_how_it_was_made(
    bundle: Path, make_model: Callable[[MergeMethod], ExportedModel]
) -> None:
    model, manifest = make_model(WEMoE(router_depth=1)), read_manifest(bundle / MANIFEST)
    assert (manifest.format, manifest.version, manifest.precision) == ("bundle", VERSION, "float32")
    files = ("bundle.safetensors", "config.json")
    assert manifest.files == {name: sha256(bundle / name) for name in files}
    assert manifest.recipe == model.recipe
    assert manifest.sources == model.sources
    assert manifest.experts == ["cars", "mnist"]
    assert manifest.heads["cars"]["logit_scale"] == 10.0
    assert manifest.heads["mnist"]["logit_scale"] is None
    assert manifest.architecture.experts == 2
    assert manifest.architecture.router_depth == 1
    assert manifest.results is not None
    assert manifest.results["accuracy"] == {"cars": 0.5, "mnist": 0.875}
    assert "torch" in manifest.versions


def test_a_later_form_asks_for_a_later_program(bundle: Path) -> None:
    rewrite(bundle, version=VERSION + 1, format="something new", files="told otherwise")
    with pytest.raises(
        CheckpointError,
        match=rf"wemoe_pl\.json was written by a later wemoe-pl \(its form is {VERSION + 1}, and "
        rf"this wemoe-pl reads forms up to {VERSION}\): upgrade wemoe_pl\.$",
    ):
        load(bundle)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"version": "1"}', "{}", "[" * 10000])
def test_what_is_no_manifest_is_refused(bundle: Path, text: str) -> None:
    (bundle / MANIFEST).write_text(text)
    with pytest.raises(CheckpointError, match=r"wemoe_pl\.json is damaged or is not a manifest"):
        load(bundle)


REQUIRED = [part.name for part in fields(Manifest) if part.default is part.default_factory]


@pytest.mark.parametrize("part", [part.name for part in fields(Manifest) if part.name != "version"])
def test_a_part_of_another_type_is_named(bundle: Path, part: str) -> None:
    rewrite(bundle, **{part: 7})
    with pytest.raises(CheckpointError, match=rf"wemoe_pl\.json is damaged: '{part}' is 7 and sho"):
        load(bundle)


@pytest.mark.parametrize("part", REQUIRED)
def test_a_missing_part_is_named(bundle: Path, part: str) -> None:
    path = bundle / MANIFEST
    about = json.loads(path.read_text())
    del about[part]
    path.write_text(json.dumps(about))
    with pytest.raises(CheckpointError, match=rf"wemoe_pl\.json is damaged: '{part}' is missing\."):
        load(bundle)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"files": {"bundle.safetensors": "abc"}}, r"'files\.bundle\.safetensors' is 'abc'"),
        ({"precision": "int4"}, r"'precision' is 'int4'"),
        ({"experts": ["cars", 1]}, r"'experts\.1' is 1 and should be a valid string"),
        ({"heads": {"cars": {"classes": "ab", "logit_scale": 1.0}}}, r"'heads\.cars\.classes' is"),
        ({"heads": {"cars": {"classes": []}}}, r"'heads\.cars\.logit_scale' is missing"),
        ({"architecture": {"backbone": "vit", "experts": "2"}}, r"'architecture\.experts' is '2'"),
        ({"results": {"suite": "a"}}, r"'results\.method' is missing"),
        ({"sources": {"pretrained": {}}}, r"'sources\.pretrained\.source' is missing"),
    ],
)
def test_what_lies_deeper_is_of_its_type_too(
    bundle: Path, changes: dict[str, Any], complaint: str
) -> None:
    rewrite(bundle, **changes)
    with pytest.raises(CheckpointError, match=rf"is damaged: {complaint}"):
        load(bundle)


@pytest.mark.parametrize(
    "changes", [{"quantised": True}, {"architecture": {"backbone": "vit", "registers": 4}}]
)
def test_a_part_of_a_later_version_is_refused(bundle: Path, changes: dict[str, Any]) -> None:
    rewrite(bundle, **changes)
    complaint = (
        r"later wemoe-pl \(it has the field '(quantised|architecture\.registers)'\): upgrade"
    )
    with pytest.raises(CheckpointError, match=complaint):
        load(bundle)


def test_a_part_that_comes_twice_is_refused(bundle: Path) -> None:
    path = bundle / MANIFEST
    path.write_text(path.read_text().replace('"format"', '"version": 1, "format"', 1))
    with pytest.raises(CheckpointError, match=r"is damaged or is not a manifest"):
        load(bundle)


@pytest.mark.parametrize("files", [{}, {"other.safetensors": "0" * 64}])
def test_hashes_cannot_be_left_out(bundle: Path, files: dict[str, str]) -> None:
    rewrite(bundle, files=files)
    with pytest.raises(
        CheckpointError, match=r"json has no SHA-256 of bundle\.safetensors, so nothing"
    ):
        load(bundle)


def test_a_manifest_cannot_ask_for_endless_blocks_or_experts(bundle: Path) -> None:
    """Nothing is built before it is refused: a hundred thousand blocks would take minutes."""
    about = json.loads((bundle / MANIFEST).read_text())["architecture"]
    for depth in (100_000, 10**30, 0, -1, "9", True, 60):
        options = {**about["options"], "depth": depth}
        rewrite(bundle, architecture={**about, "options": options})
        with pytest.raises(CheckpointError, match=r"option 'depth' is|is larger"):
            load(bundle)
    many = 100_000
    rewrite(bundle, architecture={**about, "experts": many}, experts=["cars"] * many)
    with pytest.raises(CheckpointError, match=rf"routers for {many} experts, but the first router"):
        load(bundle)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_bundle_with_weights_that_are_not_finite_is_refused(bundle: Path, value: float) -> None:
    path = bundle / "bundle.safetensors"
    tensors = load_file(path)
    tensors["encoder.blocks.1.mlp.router.out.bias"][0] = value
    save_file(tensors, path)
    rewrite(bundle, files={path.name: sha256(path)})
    with pytest.raises(CheckpointError, match=r"NaN or infinite .*blocks\.1\.mlp\.router\.out\.bi"):
        load(bundle)


def test_a_bundle_with_whole_numbers_for_weights_is_refused(bundle: Path) -> None:
    path = bundle / "bundle.safetensors"
    tensors = load_file(path)
    tensors["encoder.norm.weight"] = torch.ones(16, dtype=torch.int64)
    save_file(tensors, path)
    rewrite(bundle, files={path.name: sha256(path)})
    with pytest.raises(CheckpointError, match=r"'norm\.weight' is of torch\.int64, and not of"):
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
        {"experts": ["cars"]},
        {"architecture": {"backbone": "vit_giant_patch14_224", "experts": 0}},
        {"heads": {"dtd": {"classes": ["a"], "logit_scale": None}}},
        {"heads": {"cars": {"classes": ["a"], "logit_scale": 1.0}}},
    ],
)
def test_a_manifest_of_another_file_is_refused(bundle: Path, changes: dict[str, Any]) -> None:
    rewrite(bundle, **changes)
    with pytest.raises(CheckpointError, match=r"bundle\.safetensors is not what|one vector per c"):
        load(bundle)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("encoder.norm.weight", r"'norm\.weight' is of torch\.float64, and not of float32"),
        ("heads.cars.weight", r"the head of 'cars' is of torch\.float64"),
        ("heads.mnist.bias", r"the head of 'mnist' is of torch\.float64"),
    ],
)
def test_a_bundle_in_another_precision_than_it_says_is_refused(
    bundle: Path, name: str, complaint: str
) -> None:
    path = bundle / "bundle.safetensors"
    tensors = load_file(path)
    tensors[name] = tensors[name].double()
    save_file(tensors, path)
    rewrite(bundle, files={path.name: sha256(path)})
    with pytest.raises(CheckpointError, match=rf"beside it says: {complaint}\.$"):
        load(bundle)
