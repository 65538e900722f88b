"""Adapters that are trained: what learns, what is written, and what the options refuse."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from peft import PeftModel
from safetensors import safe_open

from wemoe_pl.checkpoints import encoder_state, fingerprint, load_encoder
from wemoe_pl.data.datamodule import TaskData
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import CheckpointError, ConfigError
from wemoe_pl.training.finetune import ExpertFineTuning
from wemoe_pl.training.lora import LoRA, thin_matrices

NewTrainer = Callable[..., L.Trainer]
LAYERS = ("qkv", "proj", "fc1", "fc2")


def trained(suite: Suite, trainer: L.Trainer, adapter: LoRA, **options: Any) -> ExpertFineTuning:
    """An expert of two steps."""
    module = ExpertFineTuning(suite, "cars", learning_rate=1e-2, adapter=adapter, **options)
    trainer.fit(module, TaskData(suite, "cars", batch_size=4))
    return module


def test_only_thin_matrices_learn(tiny_suite: Suite, quiet_trainer: NewTrainer) -> None:
    module = trained(tiny_suite, quiet_trainer(max_steps=2), LoRA(rank=2))
    learned = module.trained_parameters()
    assert len(learned) == 2 * len(LAYERS) * len(module.classifier.encoder.blocks)  # type: ignore[arg-type]
    assert all(".lora_" in name for name in learned)
    before = tiny_suite.load_pretrained().state_dict()
    after = module.classifier.encoder.state_dict()
    frozen = {key.replace(".base_layer", ""): after[key] for key in after if ".lora_" not in key}
    assert frozen.keys() == before.keys()
    assert all(weight.equal(before[key]) for key, weight in frozen.items())


def test_it_starts_as_the_pretrained_encoder(tiny_suite: Suite) -> None:
    encoder = tiny_suite.load_pretrained()
    LoRA().add_to(encoder)
    images = torch.randn(2, 3, 28, 28)
    torch.testing.assert_close(encoder(images), tiny_suite.load_pretrained()(images))


@pytest.mark.parametrize("adapter", [LoRA(2, alpha=6.0), LoRA(2, 6.0, rank_stabilised=True)])
def test_what_is_written_is_the_trained_encoder_to_peft_and_to_us(
    adapter: LoRA, tiny_suite: Suite, quiet_trainer: NewTrainer, tmp_path: Path
) -> None:
    module = trained(tiny_suite, quiet_trainer(max_steps=2), adapter)
    module.export(tmp_path, {"trainer": {"max_steps": 2}}, seed=3)
    assert {path.name for path in tmp_path.iterdir()} == {
        "adapter_model.safetensors", "adapter_config.json", "head.safetensors",
    }  # fmt: skip
    images = torch.randn(2, 3, 28, 28)
    with torch.no_grad():
        expected = module.classifier.encoder.eval()(images)
        base = tiny_suite.pretrained
        ours = load_encoder(str(tmp_path), tiny_suite.backbone, base=base)(images)
        peft = PeftModel.from_pretrained(tiny_suite.load_pretrained(), str(tmp_path))
        theirs = peft.eval()(images)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(theirs, expected)
    assert not torch.allclose(expected, tiny_suite.load_pretrained()(images))


def test_the_adapter_names_its_base_and_its_recipe(
    tiny_suite: Suite, quiet_trainer: NewTrainer, tmp_path: Path
) -> None:
    module = trained(tiny_suite, quiet_trainer(max_steps=1), LoRA(rank=2), save_as="float16")
    module.export(tmp_path, {"trainer": {"max_steps": 1}}, seed=3)
    with safe_open(tmp_path / "adapter_model.safetensors", framework="pt") as file:
        metadata = file.metadata()
        assert {str(file.get_tensor(key).dtype) for key in file.keys()} == {"torch.float16"}  # noqa: SIM118
    assert metadata["base_sha256"] == fingerprint(tiny_suite.pretrained, "encoder.safetensors")
    assert (metadata["seed"], json.loads(metadata["recipe"])["trainer"]) == ("3", {"max_steps": 1})
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == tiny_suite.pretrained
    other = replace(tiny_suite, pretrained=tiny_suite.experts["dtd"])
    with pytest.raises(CheckpointError, match="was trained from other weights than these"):
        encoder_state(str(tmp_path), tiny_suite.backbone, base=other.pretrained)


def test_layers_are_chosen_by_the_ends_of_their_names(tiny_suite: Suite) -> None:
    encoder = tiny_suite.load_pretrained()
    LoRA(rank=2, layers=("mlp.fc2",)).add_to(encoder)
    assert {name.split(".", 2)[2] for name in thin_matrices(encoder)} == {"mlp.fc2"}


@pytest.mark.parametrize(
    ("layers", "complaint"),
    [
        (("query",), r"no linear layer 'query' for the adapter: give .* such as blocks\.0\.attn"),
        (("mlp.fc2", "c2"), r"no linear layer 'c2' for the adapter"),
        (("patch_embed.proj",), r"no linear layer 'patch_embed\.proj'"),
    ],
)
def test_a_layer_that_is_not_there_is_named(
    layers: tuple[str, ...], complaint: str, tiny_suite: Suite
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        LoRA(layers=layers).add_to(tiny_suite.load_pretrained())


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"rank": 0}, r"The rank of the adapter is 0: give a number from 1"),
        ({"alpha": 0.0}, r"The alpha of the adapter is 0\.0: give a number above 0"),
        ({"alpha": float("nan")}, r"The alpha of the adapter is nan"),
        ({"dropout": 1.0}, r"The dropout of the adapter is 1\.0: give a share from 0, below 1"),
        ({"layers": ()}, r"The adapter has no layers"),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        LoRA(**options)


def test_a_missing_package_says_how_to_install_it(
    tiny_suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wemoe_pl.training.lora.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"trained by PEFT: install it with `pip install 'wemoe_"):
        LoRA().add_to(tiny_suite.load_pretrained())
