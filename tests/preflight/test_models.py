"""Encoders and heads: whether they fit, and whether they are what they seem."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.hub_content import write_clip
from safetensors.torch import save_file

from wemoe_pl.checkpoints import Backbone, save_tensors
from wemoe_pl.checkpoints.zero_shot import TextTower
from wemoe_pl.data.miniature import MiniatureTask
from wemoe_pl.data.suite import Suite
from wemoe_pl.model.recipe import read_suite
from wemoe_pl.preflight.findings import Findings
from wemoe_pl.preflight.models import described, look_at_encoders, look_at_head, order_of


@pytest.fixture
def suite(folder: Path) -> Suite:
    """Four experts of random weights."""
    return read_suite("suite.yaml")


def test_how_far_an_expert_is_from_the_pretrained_encoder(suite: Suite, folder: Path) -> None:
    before = dict(suite.open_pretrained())
    save_tensors(folder / "folder.safetensors", {k: 1.01 * w for k, w in before.items()}, {})
    findings = Findings()
    encoders = look_at_encoders(suite, findings)
    assert encoders["pretrained"].distance is None
    assert encoders["folder"].distance == pytest.approx(0.01, rel=1e-3)
    ours, theirs = (
        torch.cat([state[key].double().flatten() for key in before])
        for state in (suite.load_experts()["mnist"], before)
    )
    expected = ((ours - theirs).norm() / theirs.norm()).item()
    assert encoders["mnist"].distance == pytest.approx(expected, rel=1e-5)
    assert {encoder.form for encoder in encoders.values()} == {"timm"}
    assert [w for w in findings.warnings if w.startswith("expert of folder")] == []
    assert sum("was it fine-tuned from that one?" in w for w in findings.warnings) == 3


@pytest.mark.filterwarnings("ignore:.*does not name the model")
def test_an_adapter_is_shown_with_its_rank(lora_suite: Suite) -> None:
    encoders = look_at_encoders(lora_suite, Findings())
    assert (encoders["cars"].form, encoders["pretrained"].form) == ("LoRA of rank 2", "timm")
    assert encoders["cars"].distance


def test_an_expert_that_is_another_or_the_pretrained_one_is_warned_of(
    folder: Path, change: Callable[..., None]
) -> None:
    change("experts", mnist="pretrained.safetensors", drawn="folder.safetensors")
    findings = Findings()
    look_at_encoders(read_suite("suite.yaml"), findings)
    assert "expert of mnist: It is the pretrained encoder itself, and adds nothing to it." in (
        findings.warnings
    )
    assert any("experts of 'folder' and 'drawn' are the same" in w for w in findings.warnings)
    assert findings.problems == []


def test_weights_that_are_missing_damaged_or_not_finite_are_all_told(
    suite: Suite, folder: Path
) -> None:
    broken = {k: w.clone() for k, w in suite.load_experts()["mnist"].items()}
    (folder / "folder.safetensors").unlink()
    (folder / "parquet.safetensors").write_bytes(b"cut")
    broken["norm.bias"][0] = torch.nan
    save_file(broken, folder / "mnist.safetensors")
    findings = Findings()
    look_at_encoders(suite, findings)
    told = dict(problem.split(": ", 1) for problem in findings.problems)
    assert "There is no file folder.safetensors" in told["expert of folder"]
    assert "parquet.safetensors is damaged" in told["expert of parquet"]
    assert "NaN or infinite weights in 'norm.bias'" in told["expert of mnist"]
    assert len(told) == 3


def test_a_head_says_where_it_is_from_and_what_it_is(suite: Suite) -> None:
    source, head = look_at_head(suite, "parquet", True, Findings())
    assert source == "head_parquet.safetensors"
    assert head is not None
    assert described(head) == "3 classes, cosine, scale 10"


def test_a_head_in_another_order_is_a_problem(suite: Suite, change: Callable[..., None]) -> None:
    change("tasks", folder={"class_names": ["dog", "cat"]})
    findings = Findings()
    look_at_head(read_suite("suite.yaml"), "folder", True, findings)
    [problem] = findings.problems
    told = "The head of 'folder' names class 0 'cat', but its images name it 'dog': put the classes"
    assert problem.startswith(f"head of folder: {told} in one order")


def test_a_head_that_the_text_tower_makes_is_not_made_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEMOE_PL_CACHE", str(tmp_path / "cache"))
    sizes = {"img_size": 64, "patch_size": 16, "embed_dim": 64, "depth": 2, "num_heads": 4}
    text = {"embed_dim": 32, "width": 32, "heads": 2, "layers": 2}
    write_clip(tmp_path / "clip", seed=0)
    suite = Suite(
        name="clip",
        backbone=Backbone("vit_base_patch32_clip_quickgelu_224", {**sizes, "num_classes": 32}),
        pretrained=str(tmp_path / "clip"),
        text_tower=TextTower("ViT-B-32-quickgelu", options=text),
        tasks={"mnist": MiniatureTask("mnist", train_size=10, test_size=10)},
    )
    findings, tower = Findings(), f"zero-shot, by the text tower of {tmp_path}/clip"
    assert look_at_encoders(suite, findings)["pretrained"].form == "Hugging Face CLIP"
    told = f"{tower}, which a job or `wemoe-pl prepare` makes"
    assert look_at_head(suite, "mnist", True, findings) == (told, None)
    assert not suite.zero_shot_head("mnist").path.exists()
    made = suite.load_head("mnist")
    source, head = look_at_head(suite, "mnist", True, findings)
    assert source == tower
    assert head is not None
    assert head.weight.equal(made.weight)
    assert findings == Findings()
    wrong = replace(suite, text_tower=TextTower("ViT-B-32-quickgelu"))
    assert look_at_head(wrong, "mnist", True, findings)[1] is None
    [problem] = findings.problems
    assert problem.startswith("text tower: The text tower in ")
    assert "has shape" in problem


def test_where_the_order_of_classes_is_from(suite: Suite, change: Callable[..., None]) -> None:
    orders = {name: order_of(task, task.classes) for name, task in suite.tasks.items()}
    assert orders == {
        "folder": "by the names of the folders",
        "parquet": "as in the label column",
        "mnist": "as in the paper",
        "drawn": "as MiniatureTask says",
    }
    change("tasks", folder={"class_names": ["cat", "dog"]})
    named = read_suite("suite.yaml").tasks["folder"]
    assert order_of(named, named.classes) == "as in `class_names`"
    assert order_of(named, ()) == "known only to the head"
