"""Uploads to a hub on loopback, and what comes back from it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from helpers.card_snippets import snippet_of
from helpers.loopback_hub import TOKEN, LoopbackHub
from huggingface_hub import constants
from PIL import Image

from wemoe_pl.errors import ConfigError, HubError, UnreachableError
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.loading import load
from wemoe_pl.export.manifest import MANIFEST
from wemoe_pl.export.one_task import classifier_of
from wemoe_pl.export.push import destination, push
from wemoe_pl.export.writing import export
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import WEMoE

MakeModel = Callable[[MergeMethod], ExportedModel]


@pytest.fixture
def pushed(
    writable_hub: LoopbackHub, make_model: MakeModel, exports: Path
) -> Callable[[MergeMethod, str], Path]:
    """`pushed(method, "bundle")`: the folder on the hub of a model that was exported and pushed."""

    def pushed(method: MergeMethod, name: str) -> Path:
        difference = export(make_model(method), name, exports, lambda line: None)
        push(exports, destination("me/merged"), difference)
        return writable_hub.root / "models/me/merged"

    return pushed


def test_what_is_pushed_is_loaded_by_its_name(
    pushed: Callable[..., Path], make_model: MakeModel, exports: Path
) -> None:
    there = pushed(WEMoE(), "bundle")
    assert {path.name for path in there.iterdir()} == {
        "README.md", MANIFEST, *(path.name for path in exports.iterdir()),
    }  # fmt: skip
    model = make_model(WEMoE())
    with torch.no_grad():
        assert load("me/merged").encode(model.images).equal(model.features)


def test_it_can_be_pushed_again(pushed: Callable[..., Path]) -> None:
    before = (pushed(TaskArithmetic(), "timm") / "model.safetensors").read_bytes()
    assert (pushed(WEMoE(), "timm") / "model.safetensors").read_bytes() != before


@pytest.mark.slow
def test_timm_loads_what_was_pushed_where_this_package_is_not(
    pushed: Callable[..., Path], make_model: MakeModel, writable_hub: LoopbackHub, tmp_path: Path
) -> None:
    pushed(TaskArithmetic(), "timm")
    model = make_model(TaskArithmetic())
    program = (
        "import timm, torch\n"
        "encoder = timm.create_model('hf-hub:me/merged', pretrained=True).eval()\n"
        "features = encoder(torch.load('images.pt'))\n"
        "assert 'wemoe_pl' not in sys.modules\n"
    )
    torch.save(model.images, tmp_path / "images.pt")
    found = run_elsewhere(program, writable_hub, tmp_path)
    torch.testing.assert_close(found["features"], model.features, rtol=0, atol=1e-5)


def run_elsewhere(program: str, hub: LoopbackHub, folder: Path) -> dict[str, torch.Tensor]:
    """Run a program beside `photo.png` in a process, and return the tensors that it leaves."""
    Image.effect_noise((64, 48), 60).save(folder / "photo.png")
    before = "import sys, torch\n"
    after = (
        "\nleft = {k: v.detach() for k, v in globals().items() if isinstance(v, torch.Tensor)}\n"
        "torch.save(left, 'left.pt')\n"
    )
    environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "0"}
    environment |= {"HF_HOME": str(folder / "home"), "HF_HUB_CACHE": str(folder / "cache")}
    command = [sys.executable, "-c", f"{before}{program}{after}"]
    subprocess.run(command, check=True, env=environment, timeout=300, cwd=folder)
    found: dict[str, torch.Tensor] = torch.load(folder / "left.pt")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("method", [WEMoE(), TaskArithmetic()], ids=["WEMoE", "static"])
def test_a_pushed_bundle_is_loaded_as_its_card_says(
    pushed: Callable[..., Path],
    make_model: MakeModel,
    method: MergeMethod,
    writable_hub: LoopbackHub,
    tmp_path: Path,
) -> None:
    code = snippet_of(pushed(method, "bundle") / "README.md")
    assert "import wemoe_pl.model.architecture" in code
    assert 'timm.create_model("hf-hub:me/merged", pretrained=True)' in code
    model = make_model(method).classifier
    found = run_elsewhere(code, writable_hub, tmp_path)
    images = model.preprocess(Image.open(tmp_path / "photo.png"))[None]
    with torch.no_grad():
        features, logits = model.encode(images), model(images, "cars")
    torch.testing.assert_close(found["features"], features, rtol=0, atol=1e-5)
    torch.testing.assert_close(found["logits"], logits, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_a_pushed_classifier_of_one_task_is_loaded_as_its_card_says(
    writable_hub: LoopbackHub, make_model: MakeModel, exports: Path, tmp_path: Path
) -> None:
    model = make_model(TaskArithmetic())
    plain = classifier_of(model, "mnist", lambda line: None)
    push(exports, destination("me/digits"), export(plain, "timm", exports, lambda line: None))
    code = snippet_of(writable_hub.root / "models/me/digits/README.md")
    assert 'pipeline("image-classification", model="me/digits")' in code
    code += (
        "answers = {each['label']: each['score'] for each in classify('photo.png', top_k=10)}\n"
        "scores = torch.tensor([answers[name] for name in sorted(answers)])\n"
        "assert 'wemoe_pl' not in sys.modules\n"
    )
    found = run_elsewhere(code, writable_hub, tmp_path)
    images = model.classifier.preprocess(Image.open(tmp_path / "photo.png"))[None]
    torch.testing.assert_close(found["images"], images, rtol=0, atol=1e-5)
    with torch.no_grad():
        logits = model.classifier(images, "mnist")
    torch.testing.assert_close(found["logits"], logits, rtol=0, atol=1e-5)
    [answer] = model.classifier.predict(tmp_path / "photo.png", "mnist", top=10)
    expected = torch.tensor([probability for _, probability in sorted(answer.top)])
    torch.testing.assert_close(found["scores"], expected, rtol=0, atol=1e-4)


def test_no_path_of_this_machine_and_no_token_is_pushed(
    pushed: Callable[..., Path], clip_suite: object
) -> None:
    there = pushed(WEMoE(), "bundle")
    for name in ("README.md", MANIFEST):
        text = (there / name).read_text()
        assert "…/cars" in text
        assert TOKEN not in text
        assert str(Path(clip_suite.pretrained).parent) not in text  # type: ignore[attr-defined]
    about = json.loads((there / MANIFEST).read_text())
    assert about["sources"]["experts/cars"]["source"] == "…/cars"


def test_licences_are_those_that_the_cards_of_the_sources_state(
    writable_hub: LoopbackHub, make_model: MakeModel, exports: Path
) -> None:
    for name, card in {"with": "---\nlicense: mit\n---\nText.\n", "without": "Text.\n"}.items():
        (writable_hub.root / "models/owner" / name).mkdir(parents=True)
        (writable_hub.root / "models/owner" / name / "README.md").write_text(card)
    model = make_model(TaskArithmetic())
    sources = {
        **{k: dict(v) for k, v in model.sources.items()},
        "pretrained": {"source": "owner/with", "sha256": "0" * 64},
        "experts/cars": {"source": "owner/without", "sha256": "1" * 64},
    }
    export(replace(model, sources=sources), "bundle", exports, lambda line: None)
    push(exports, destination("me/merged"), 0.0)
    card = (writable_hub.root / "models/me/merged/README.md").read_text()
    assert f"| pretrained | owner/with | `{'0' * 64}` | mit |" in card
    assert f"| experts/cars | owner/without | `{'1' * 64}` | not stated |" in card
    assert "| experts/mnist | …/mnist | " in card
    assert yaml.safe_load(card.split("---\n")[1])["base_model"] == ["owner/with", "owner/without"]


def test_an_adapter_of_files_that_nobody_has_is_not_pushed(
    pushed: Callable[..., Path], writable_hub: LoopbackHub
) -> None:
    with pytest.raises(ConfigError, match=r"since pretrained is a file .*push a bundle instead\.$"):
        pushed(WEMoE(), "adapter")
    assert not writable_hub.requests


@pytest.mark.parametrize("problem", ["stranger", "read_only", "busy", "gone"])
def test_what_goes_wrong_is_one_sentence_without_the_token(
    pushed: Callable[..., Path],
    writable_hub: LoopbackHub,
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind: type[HubError] = HubError
    match problem:
        case "stranger":
            monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
            complaint = r"^The hub does not let you write to me/merged: log in with `hf auth login`"
        case "read_only":
            writable_hub.read_only.add("me")
            complaint = r"^The hub does not let you write to me/merged: .*token that may write"
        case "busy":
            writable_hub.fail_next(100)
            complaint = r"^The hub answered 503 for me/merged: try again later\.$"
        case _:
            monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
            complaint = r"^Nothing was uploaded to me/merged: the hub cannot be reached"
            kind = UnreachableError
    with pytest.raises(kind, match=complaint) as caught:
        pushed(TaskArithmetic(), "bundle")
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("name", ["merged", "me/merged@main", "/tmp/merged", "a/b/c", ""])
def test_a_destination_is_a_user_and_a_name(name: str) -> None:
    with pytest.raises(ConfigError, match=f"--push is '{name}': give USER/NAME"):
        destination(name)
