"""Folders for timm: with their own weights, or none, and prepared for as the backbone is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
from torch.nn import functional as F

from wemoe_pl.errors import ConfigError
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.timm_folder import CONFIG_FILE, WEIGHTS_FILE
from wemoe_pl.export.writing import export
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import EWEMoE, WEMoE
from wemoe_pl.moe.low_rank import LowRank
from wemoe_pl.moe.router import Gate

MakeModel = Callable[[MergeMethod], ExportedModel]
METHODS = pytest.mark.parametrize(
    "method",
    [
        TaskArithmetic(),
        WEMoE(),
        EWEMoE(),
        WEMoE(attention=LowRank(rank=3), gate=Gate(softmax=True, top_k=1)),
    ],
    ids=repr,
)


@pytest.fixture
def folder(make_model: MakeModel, exports: Path) -> Callable[[MergeMethod], Path]:
    """`folder(method)`: of an export for timm."""

    def exported(method: MergeMethod) -> Path:
        export(make_model(method), "timm", exports, lambda line: None)
        return exports

    return exported


@METHODS
def test_weights_are_there_when_they_are_asked_for_and_only_then(
    make_model: MakeModel, folder: Callable[[MergeMethod], Path], method: MergeMethod
) -> None:
    model, name = make_model(method), f"local-dir:{folder(method)}"
    there = timm.create_model(name, pretrained=True).eval()
    without = timm.create_model(name, pretrained=False).eval()
    torch.testing.assert_close(there(model.images), model.features, rtol=0, atol=1e-5)
    assert not torch.allclose(without(model.images), model.features, rtol=0, atol=1e-2)


@METHODS
def test_weights_that_are_missing_are_no_random_ones(
    folder: Callable[[MergeMethod], Path], method: MergeMethod
) -> None:
    place = folder(method)
    (place / WEIGHTS_FILE).unlink()
    with pytest.raises(RuntimeError, match="No suitable checkpoints found"):
        timm.create_model(f"local-dir:{place}", pretrained=True)


def test_timm_prepares_images_as_this_package_does(
    make_model: MakeModel, folder: Callable[[MergeMethod], Path]
) -> None:
    model = make_model(TaskArithmetic())
    there = timm.create_model(f"local-dir:{folder(TaskArithmetic())}", pretrained=True)
    transform = create_transform(**resolve_model_data_config(there), is_training=False)
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    torch.testing.assert_close(transform(image), model.preprocessing(image))


def test_the_config_names_no_other_weights(folder: Callable[[MergeMethod], Path]) -> None:
    config = json.loads((folder(TaskArithmetic()) / CONFIG_FILE).read_text())
    assert config["architecture"] == "vit_base_patch32_clip_quickgelu_224"
    assert not {"url", "hf_hub_id", "hf_hub_filename", "file"} & config["pretrained_cfg"].keys()
    config = json.loads((folder(WEMoE()) / CONFIG_FILE).read_text())
    assert config["architecture"] == "wemoe"


def test_another_last_layer_of_an_upscaled_encoder_learns(
    folder: Callable[[MergeMethod], Path], make_model: MakeModel
) -> None:
    images = make_model(WEMoE()).images
    there = timm.create_model(f"local-dir:{folder(WEMoE())}", pretrained=True, num_classes=5)
    head: Any = there.head
    before = head.weight.detach().clone()
    trained = [weight for weight in there.parameters() if weight.requires_grad]
    F.cross_entropy(there(images), torch.tensor([0, 3, 4])).backward()
    torch.optim.SGD(trained, lr=0.1).step()
    assert head.weight.shape[0] == 5
    assert not torch.equal(head.weight, before)


def test_the_last_layer_that_was_exported_stays_frozen(
    folder: Callable[[MergeMethod], Path], make_model: MakeModel
) -> None:
    model = make_model(WEMoE())
    width = model.features.shape[1]
    name = f"local-dir:{folder(WEMoE())}"
    for same in ({}, {"num_classes": width}, {"num_classes": width, "drop_rate": 0.1}):
        there = timm.create_model(name, pretrained=True, **same).eval()
        torch.testing.assert_close(there(model.images), model.features, rtol=0, atol=1e-5)
        frozen = there.get_submodule("head").parameters()
        assert not any(weight.requires_grad for weight in frozen)


@pytest.mark.parametrize(
    "option",
    [{"img_size": 64}, {"features_only": True}, {"global_pool": "avg"}, {"out_indices": (0,)},
     {"embed_dim": 8}, {"class_token": False}],
)  # fmt: skip
def test_what_an_upscaled_encoder_cannot_be_is_refused(
    option: dict[str, Any], folder: Callable[[MergeMethod], Path]
) -> None:
    [name] = option
    with pytest.raises(
        ConfigError, match=rf"cannot be created with {name}=.*: leave it out\. The options that"
    ):
        timm.create_model(f"local-dir:{folder(WEMoE())}", pretrained=True, **option)
