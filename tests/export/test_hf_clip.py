"""Folders of Hugging Face's CLIP: the inverse of how its models are read."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import resolve_data_config
from transformers import CLIPImageProcessor, CLIPVisionModel, CLIPVisionModelWithProjection

from wemoe_pl.checkpoints import Backbone, load_encoder
from wemoe_pl.checkpoints.heads import CosineHead, save_head
from wemoe_pl.data.miniature import CLASSES
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import MergeError
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.hf_clip import plain_clip
from wemoe_pl.export.writing import export
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.baselines import Pretrained
from wemoe_pl.merging.task_arithmetic import TaskArithmetic

MakeModel = Callable[[MergeMethod], ExportedModel]


def test_transformers_gives_the_features_and_this_package_reads_them_back(
    make_model: MakeModel, exports: Path
) -> None:
    model = make_model(TaskArithmetic())
    export(model, "hf", exports, lambda line: None)
    theirs: Any = CLIPVisionModelWithProjection.from_pretrained(exports)
    with torch.no_grad():
        features = theirs.eval()(pixel_values=model.images).image_embeds
    torch.testing.assert_close(features, model.features, rtol=0, atol=1e-5)
    again = load_encoder(str(exports), model.suite.backbone)
    state = model.classifier.encoder.state_dict()
    assert all(tensor.equal(state[key]) for key, tensor in again.state_dict().items())


def test_an_encoder_without_projection_is_a_tower_alone(
    clip_suite: Suite, exports: Path, tmp_path: Path
) -> None:
    name, options = clip_suite.backbone.model, clip_suite.backbone.options
    bare = Backbone(name, {key: value for key, value in options.items() if key != "num_classes"})
    head = CosineHead(torch.randn(len(CLASSES["cars"]), 16), CLASSES["cars"], 10.0)
    save_head(tmp_path / "head.safetensors", head, {})
    suite = replace(
        clip_suite.restricted_to(["cars"]),
        backbone=bare,
        heads={"cars": str(tmp_path / "head.safetensors")},
    )
    model = ExportedModel.assemble(suite, Pretrained(), {})
    export(model, "hf", exports, lambda line: None)
    theirs: Any = CLIPVisionModel.from_pretrained(exports)
    with torch.no_grad():
        features = theirs.eval()(pixel_values=model.images).pooler_output
    torch.testing.assert_close(features, model.features, rtol=0, atol=1e-5)


@pytest.mark.parametrize("crop_mode", ["center", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_transformers_prepares_images_as_this_package_does(
    make_model: MakeModel,
    exports: Path,
    crop_mode: str,
    interpolation: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def of_other_weights(**known: Any) -> dict[str, Any]:
        changed = {"crop_mode": crop_mode, "interpolation": interpolation}
        return {**resolve_data_config(**known), **changed}

    monkeypatch.setattr("wemoe_pl.data.preprocessing.resolve_data_config", of_other_weights)
    model = make_model(TaskArithmetic())
    export(model, "hf", exports, lambda line: None)
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    processor = CLIPImageProcessor.from_pretrained(exports)
    [theirs] = processor(images=image, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(theirs, model.preprocessing(image), rtol=0, atol=0.05)


def test_other_encoders_are_refused(make_model: MakeModel, tiny_suite: Suite) -> None:
    other = ExportedModel.assemble(tiny_suite, TaskArithmetic(), {})
    with pytest.raises(MergeError, match="'vit_tiny_patch16_224' is not a vision tower of CLIP's"):
        plain_clip(other)
    model = make_model(TaskArithmetic())
    torch.nn.init.ones_(model.classifier.encoder.get_parameter("head.bias"))
    with pytest.raises(MergeError, match="ends in a projection with a bias"):
        plain_clip(model)
