"""Bundles: all of a classifier in one file, in the precision and the form that are asked for."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file

from wemoe_pl.checkpoints.heads import CosineHead, LinearHead
from wemoe_pl.errors import ConfigError, MergeError
from wemoe_pl.export.bundle import BUNDLE_FILE, parse_compression
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.loading import load
from wemoe_pl.export.manifest import MANIFEST
from wemoe_pl.export.timm_folder import CONFIG_FILE
from wemoe_pl.export.writing import export, size_of
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import EWEMoE, WEMoE
from wemoe_pl.moe.compression import Compression
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.low_rank import LowRank
from wemoe_pl.moe.pruned import Pruned
from wemoe_pl.moe.quantised import Quantised

MakeModel = Callable[[MergeMethod], ExportedModel]
FORMS = [Dense(), Pruned(ratio=0.8), LowRank(rank=3), Quantised()]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "method", [WEMoE(), EWEMoE(), WEMoE(attention=LowRank(rank=3)), TaskArithmetic()], ids=repr
)
def test_a_bundle_has_the_precision_that_is_asked_for(
    make_model: MakeModel, method: MergeMethod, dtype: torch.dtype, exports: Path
) -> None:
    model = make_model(method)
    cast = model.cast(dtype)
    assert model.dtype == torch.float32
    said: list[str] = []
    assert export(cast, "bundle", exports, said.append) <= 1e-2
    loaded = load(exports)
    kinds = {weight.dtype for weight in loaded.encoder.parameters()}
    assert {kind for kind in kinds if kind.is_floating_point} == {dtype}
    assert {weight.dtype for weight in loaded.heads.parameters()} == {torch.float32}
    assert loaded.encode(cast.images).equal(cast.classifier.encode(cast.images))
    near = 0.1 if dtype == torch.bfloat16 else 0.02
    torch.testing.assert_close(cast.features.float(), model.features, rtol=0, atol=near)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_bundle_has_the_dictionary_that_is_asked_for(
    make_model: MakeModel, form: Compression, exports: Path
) -> None:
    model = make_model(WEMoE()).compressed(form)
    expected = make_model(WEMoE(compression=form))
    assert model.features.equal(expected.features)
    assert export(model, "bundle", exports, lambda line: None) <= 1e-5
    assert load(exports).encode(model.images).equal(model.classifier.encode(model.images))


def test_the_size_that_is_told_is_that_of_the_file(make_model: MakeModel, exports: Path) -> None:
    for form in FORMS:
        model = make_model(WEMoE()).compressed(form).cast(torch.bfloat16)
        export(model, "bundle", exports, lambda line: None)
        size, told = (exports / BUNDLE_FILE).stat().st_size, size_of(model, "bundle")
        assert told < size < told + 20_000  # the header, with the names of all tensors


def test_heads_of_both_kinds_are_in_it(make_model: MakeModel, exports: Path) -> None:
    model = make_model(TaskArithmetic())
    export(model, "bundle", exports, lambda line: None)
    loaded = load(exports)
    cosine, linear = loaded.head("cars"), loaded.head("mnist")
    assert isinstance(cosine, CosineHead)
    assert cosine.logit_scale == 10.0
    assert isinstance(linear, LinearHead)
    for task in loaded.tasks:
        assert loaded(model.images, task).equal(model.classifier(model.images, task))
        assert loaded.head(task).classes == model.classifier.head(task).classes


def test_what_blocks_share_is_in_it_once(make_model: MakeModel, exports: Path) -> None:
    export(make_model(EWEMoE()), "bundle", exports, lambda line: None)
    assert not any("blocks.1.mlp.router" in key for key in load_file(exports / BUNDLE_FILE))


def test_a_plain_encoder_has_no_dictionary(make_model: MakeModel) -> None:
    for method in (TaskArithmetic(), WEMoE(router_depth=0)):
        with pytest.raises(ConfigError, match=r"without a dictionary .*: leave out --dictionary"):
            make_model(method).compressed(Dense())


@pytest.mark.parametrize(
    "method",
    [TaskArithmetic(), WEMoE(), EWEMoE(), *(WEMoE(compression=form) for form in FORMS[1:])],
    ids=repr,
)
def test_timm_loads_the_encoder_of_a_bundle(
    make_model: MakeModel, method: MergeMethod, exports: Path
) -> None:
    model = make_model(method)
    export(model, "bundle", exports, lambda line: None)
    there = timm.create_model(f"local-dir:{exports}", pretrained=True).eval()
    torch.testing.assert_close(there(model.images), model.features, rtol=0, atol=1e-5)
    without = timm.create_model(f"local-dir:{exports}", pretrained=False).eval()
    assert not torch.allclose(without(model.images), model.features, rtol=0, atol=1e-2)


def test_a_bundle_of_earlier_versions_is_read(make_model: MakeModel, exports: Path) -> None:
    model = make_model(WEMoE())
    export(model, "bundle", exports, lambda line: None)
    (exports / CONFIG_FILE).unlink()
    about = json.loads((exports / MANIFEST).read_text())
    del about["files"][CONFIG_FILE]
    (exports / MANIFEST).write_text(json.dumps(about))
    with torch.no_grad():
        assert load(exports).encode(model.images).equal(model.features)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("dense", Dense()),
        ("int8", Quantised()),
        ("pruned=0.5", Pruned(ratio=0.5)),
        ("low-rank=16", LowRank(rank=16)),
    ],
)
def test_the_form_of_a_dictionary_is_told_in_a_word(text: str, form: Compression) -> None:
    assert parse_compression(text) == form


@pytest.mark.parametrize(
    "text", ["", "pruned", "pruned=x", "low-rank=1.5", "dense=1", "int8=8", "sparse"]
)
def test_another_word_is_refused(text: str) -> None:
    with pytest.raises(
        ConfigError, match=f"--dictionary is '{text}': give dense, int8, pruned=SHARE"
    ):
        parse_compression(text)
    with pytest.raises(MergeError, match="pruning ratio is 2"):
        parse_compression("pruned=2")
