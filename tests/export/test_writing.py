"""Every format, written from a tiny CLIP, read back by what it is for, and refused when wrong."""

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.card_snippets import snippet_of
from PIL import Image
from torch import Tensor

from wemoe_pl.errors import CheckpointError, ConfigError, MergeError, WeMoEError
from wemoe_pl.export import writing
from wemoe_pl.export.card import CARD_FILE
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.formats import FORMATS_BY_NAME
from wemoe_pl.export.loading import load
from wemoe_pl.export.manifest import MANIFEST
from wemoe_pl.export.names import EXPORT_FORMATS
from wemoe_pl.export.programs import AllTasks, Run
from wemoe_pl.export.writing import TOLERANCE, export, largest_difference
from wemoe_pl.merging.adamerging import AdaMerging
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.baselines import Individual, Pretrained
from wemoe_pl.merging.mass import MASS
from wemoe_pl.merging.smile import SMILE
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import EWEMoE, WEMoE
from wemoe_pl.model.building import build_classifier
from wemoe_pl.model.measured import Measured
from wemoe_pl.model.recipe import read_suite
from wemoe_pl.system.configs import find_config
from wemoe_pl.system.warn import WeMoEWarning

MakeModel = Callable[[MergeMethod], ExportedModel]
QUICK = [name for name in EXPORT_FORMATS if name != "aoti"]  # which see test_compiled.py
UPSCALED = [name for name in QUICK if name not in ("hf", "peft")]


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.filterwarnings("ignore:.*does not name the model")
def test_a_static_merge_is_read_back_as_it_was(
    static_merge: Callable[[str], ExportedModel], name: str, exports: Path
) -> None:
    said: list[str] = []
    difference = export(static_merge(name), name, exports, said.append)
    assert difference <= 1e-5
    assert (exports / MANIFEST).is_file()
    assert said[0].startswith(f"{exports} will take ")
    assert said[1] == (
        f"Read back, its features differ by at most {difference:.1e} from the model's."
    )


@pytest.mark.parametrize("name", UPSCALED)
@pytest.mark.parametrize(
    "method",
    [WEMoE(), pytest.param(EWEMoE(router_depth=1), marks=pytest.mark.slow)],
    ids=["WEMoE", "E-WEMoE"],
)
def test_an_upscaled_model_is_read_back_as_it_was(
    make_model: MakeModel,
    method: MergeMethod,
    name: str,
    exports: Path,
    silent: Callable[..., None],
) -> None:
    assert export(make_model(method), name, exports, silent) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", UPSCALED)
def test_the_miniature_is_read_back_as_it_was(
    name: str, exports: Path, silent: Callable[..., None]
) -> None:
    suite = read_suite(find_config("suites/miniature"))
    model = ExportedModel.assemble(suite, WEMoE(), {}, is_adapted=False)
    assert export(model, name, exports, silent) <= 1e-5


@pytest.mark.parametrize("method", [WEMoE(router_depth=0), AdaMerging()], ids=["depth 0", "Ada"])
@pytest.mark.parametrize("name", ["adapter", "timm", "hf"])
def test_what_folds_is_a_plain_encoder(
    make_model: MakeModel,
    method: MergeMethod,
    name: str,
    exports: Path,
    silent: Callable[..., None],
) -> None:
    model = make_model(method)
    assert model.is_plain
    assert export(model, name, exports, silent) <= 1e-5


def test_an_encoder_per_task_is_no_model(make_model: MakeModel, exports: Path) -> None:
    with pytest.raises(ConfigError, match=r"Individual has an encoder per task.*choose a merge"):
        export(make_model(Individual()), "adapter", exports)


@pytest.mark.parametrize("name", ["adapter", "onnx", "torch-export"])
def test_a_model_that_routes_tokens_is_read_back_as_it_was(
    make_model: MakeModel, name: str, exports: Path, silent: Callable[..., None]
) -> None:
    assert export(make_model(SMILE(2, 2)), name, exports, silent) <= 1e-5
    text = (exports / CARD_FILE).read_text()
    assert "one expert, chosen for each token" in text
    assert "plain vision transformer" not in text


@pytest.mark.parametrize("name", ["bundle", "timm", "hf"])
def test_a_model_that_routes_tokens_is_refused_where_it_would_be_built_anew(
    make_model: MakeModel, name: str, exports: Path, silent: Callable[..., None]
) -> None:
    complaint = "SMILE routes every token by itself.*: choose adapter, onnx, torch-export or aoti"
    with pytest.raises(ConfigError, match=complaint):
        export(make_model(SMILE(2, 2)), name, exports, silent)
    with pytest.raises(ConfigError, match=complaint):
        make_model(SMILE(2, 2)).cast(torch.bfloat16)
    assert not exports.exists()


def test_a_missing_package_is_named(
    make_model: MakeModel, exports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs transformers: .* 'wemoe_pl\[export\]'"):
        export(make_model(TaskArithmetic()), "hf", exports)


def test_what_does_not_read_back_leaves_nothing(
    make_model: MakeModel,
    exports: Path,
    monkeypatch: pytest.MonkeyPatch,
    silent: Callable[..., None],
) -> None:
    def slightly_off(folder: Path) -> Run:
        run = FORMATS_BY_NAME["adapter"].open(folder)
        return lambda images: [output + 1e-3 for output in run(images)]

    off = replace(
        FORMATS_BY_NAME["timm"], open=slightly_off, write=FORMATS_BY_NAME["adapter"].write
    )
    monkeypatch.setitem(FORMATS_BY_NAME, "timm", off)
    with pytest.raises(CheckpointError, match=r"differ by up to 1\.0e-03, and at most .* is a"):
        export(make_model(TaskArithmetic()), "timm", exports, silent)
    assert not list(exports.parent.iterdir())


def test_only_an_export_is_replaced(
    make_model: MakeModel, exports: Path, silent: Callable[..., None]
) -> None:
    for _ in range(2):
        export(make_model(WEMoE()), "adapter", exports, silent)
    (exports / MANIFEST).unlink()
    with pytest.raises(
        WeMoEError, match=r"exports exists already, and is not a folder of this kind"
    ):
        export(make_model(WEMoE()), "adapter", exports, silent)
    assert {path.name for path in exports.iterdir()} == {"adapter.safetensors", "README.md"}


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_no_number_is_no_small_difference(make_model: MakeModel, number: float) -> None:
    model = make_model(TaskArithmetic())
    with pytest.raises(CheckpointError, match="does not agree with the model"):
        writing.check_outputs(model, lambda images: [model.features * number])


def test_features_of_another_shape_differ_without_end() -> None:
    assert largest_difference(torch.zeros(2, 3), torch.zeros(2, 1)) == float("inf")
    assert TOLERANCE[torch.float32] == 1e-5


def test_hugging_face_takes_plain_encoders_of_clip_only(
    make_model: MakeModel, exports: Path
) -> None:
    with pytest.raises(MergeError, match="WEMoE mixes weights for every image anew"):
        export(make_model(WEMoE()), "hf", exports)


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.filterwarnings("ignore:.*does not name the model")
def test_its_readme_says_how_it_is_loaded_from_wherever_it_was_copied(
    static_merge: Callable[[str], ExportedModel],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "path" / "to" / "it's mine"
    model = static_merge(name)
    export(model, name, out, lambda line: None)
    text = (out / "README.md").read_text()
    assert not any(str(Path(source).parent) in text for source in model.suite.experts.values())
    assert "licence |" not in text
    monkeypatch.chdir(tmp_path)
    # Hugging Face's processor does not round what it has resized; tests/export/test_hf_clip.py.
    size = (64, 64) if name == "hf" else (64, 49)
    Image.effect_noise(size, 60).save("photo.png")
    left: dict[str, Any] = {}
    exec(snippet_of(out / CARD_FILE), left)
    prepared = model.classifier.preprocess(Image.open("photo.png"))[None]
    if name != "hf":  # it leaves that to a processor
        torch.testing.assert_close(torch.as_tensor(left["images"]), prepared, rtol=0, atol=1e-5)
    with torch.no_grad():
        expected = {"features": model.classifier.encode(prepared)}
        expected["logits"] = model.classifier(prepared, "cars")
    for output in expected.keys() & left.keys() or pytest.fail("It shows no output."):
        found = left[output][0] if isinstance(left[output], list) else left[output]
        found = torch.as_tensor(found).reshape(expected[output].shape)
        torch.testing.assert_close(found, expected[output], rtol=0, atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*does not name the model", "ignore:.*belongs to none")
def test_the_readme_of_a_bundle_in_half_precision_says_so_too(
    make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(WEMoE()).cast(torch.bfloat16)
    export(model, "bundle", tmp_path / "path" / "to" / "half", lambda line: None)
    monkeypatch.chdir(tmp_path)
    Image.effect_noise((64, 49), 60).save("photo.png")
    left: dict[str, Any] = {}
    exec(snippet_of(tmp_path / "path" / "to" / "half" / CARD_FILE), left)
    assert (left["images"].dtype, left["features"].dtype) == (torch.bfloat16, torch.float32)


def test_a_readme_that_was_edited_hinders_nobody(
    make_model: MakeModel, exports: Path, silent: Callable[..., None]
) -> None:
    model = make_model(WEMoE())
    export(model, "bundle", exports, silent)
    (exports / "README.md").write_text("Ours.")
    with torch.no_grad():
        assert load(exports).encode(model.images).equal(model.features)


@pytest.mark.parametrize("name", ["adapter", "bundle"])
def test_what_the_run_has_measured_is_kept_by_what_load_reads(
    make_model: MakeModel, name: str, exports: Path, silent: Callable[..., None]
) -> None:
    model = make_model(WEMoE())
    thresholds = {"entropy": {"cars": 0.25, "mnist": 0.5}}
    model.classifier.measured = Measured(thresholds, {"cars": [[0.5, -0.25], [1.0, 0.125]]})
    export(model.cast(torch.float32), name, exports, silent)
    assert load(exports).measured == model.classifier.measured
    before = exports / MANIFEST
    about = json.loads(before.read_text())
    del about["thresholds"], about["routing"]  # as earlier versions wrote it
    before.write_text(json.dumps(about))
    assert load(exports).measured == Measured()


@pytest.mark.parametrize("name", ["bundle", "adapter"])
def test_heads_that_were_trained_are_in_what_load_reads(
    make_model: MakeModel, name: str, exports: Path, silent: Callable[[str], None]
) -> None:
    model = make_model(AdaMerging(trains_heads=True))
    export(model, name, exports, silent)
    loaded = load(exports)
    for task in loaded.tasks:
        expected = model.classifier(model.images, task)
        torch.testing.assert_close(loaded(model.images, task), expected)
        untrained = build_classifier(model.suite, AdaMerging()).head(task)
        assert not torch.allclose(loaded.head(task).weight, untrained.weight)


def test_heads_that_were_trained_are_said_to_be_left_out(
    make_model: MakeModel, exports: Path
) -> None:
    said: list[str] = []
    export(make_model(AdaMerging(trains_heads=True)), "timm", exports, said.append)
    assert said[0].startswith("The format timm holds no heads, and those of this model were train")
    assert "They were trained with it: a bundle or an" in (exports / CARD_FILE).read_text()
    said.clear()
    export(make_model(AdaMerging()), "timm", exports, said.append)
    assert not any("holds no heads" in line for line in said)


@pytest.mark.parametrize("name", [name for name in EXPORT_FORMATS if name != "adapter"])
def test_what_is_merged_for_every_image_is_refused_but_as_an_adapter(
    make_model: MakeModel, exports: Path, name: str, silent: Callable[[str], None]
) -> None:
    model = make_model(MASS())
    with pytest.raises(ConfigError, match=r"^MASS merges weights anew for every image, and the fo"):
        export(model, name, exports, silent)
    assert export(model, "adapter", exports, silent) == 0
    assert "The encoder looks at every image twice" in (exports / CARD_FILE).read_text()
    with pytest.raises(ConfigError, match=r"^MASS merges weights anew for every image"):
        model.cast(torch.float16)


@pytest.mark.parametrize(
    ("method", "warns"),
    [
        (TaskArithmetic(scaling=0.0), True),
        (TaskArithmetic(), False),
        (WEMoE(), False),
        (Pretrained(), False),
    ],
    ids=repr,
)
def test_a_model_that_is_the_pretrained_one_is_warned_of(
    make_model: MakeModel,
    method: MergeMethod,
    warns: bool,
    exports: Path,
    silent: Callable[[str], None],
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        export(make_model(method), "adapter", exports, silent)
    said = [str(warning.message) for warning in caught if warning.category is WeMoEWarning]
    assert [line.startswith(f"The features of this {method.label} are those") for line in said] == [
        True
    ] * warns
    assert (exports / MANIFEST).is_file()


def replaced_by(outputs: list[Tensor]) -> Run:
    """An export whose outputs are always the same."""
    return lambda images: outputs


def test_logits_and_routing_weights_are_compared_too(make_model: MakeModel) -> None:
    model = make_model(WEMoE())
    with torch.no_grad():
        outputs = [*AllTasks(model.classifier)(model.images)]
    assert writing.check_outputs(model, lambda images: outputs) == 0
    named = ("features", "logits of 'cars'", "logits of 'mnist'", "routing weights")
    for place, name in enumerate(named):
        changed = [output + 1e-2 * (place == i) for i, output in enumerate(outputs)]
        with pytest.raises(CheckpointError, match=f"read back, its {name} differ by up to 1.0e-02"):
            writing.check_outputs(model, replaced_by(changed))
    with pytest.raises(CheckpointError, match="has 3 outputs instead of 4"):
        writing.check_outputs(model, lambda images: outputs[:3])
    with pytest.raises(CheckpointError, match="differ by up to inf"):
        writing.check_outputs(model, lambda images: outputs, batches=(1,))
