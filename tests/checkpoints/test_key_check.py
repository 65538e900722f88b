"""Which keys and shapes are refused, and how they are told; real files are in `test_encoder`."""

import pytest
import torch

from wemoe_pl.checkpoints import Backbone, first_difference
from wemoe_pl.checkpoints.key_check import check_encoder_keys, check_text_keys
from wemoe_pl.errors import CheckpointError

BACKBONE = Backbone(
    "vit_tiny_patch16_224",
    {
        "img_size": 32,
        "patch_size": 16,
        "embed_dim": 64,
        "depth": 2,
        "num_heads": 2,
        "num_classes": 0,
    },
)
REFERENCE = {"a": torch.Size([2]), "b": torch.Size([3])}


def test_equal_keys_and_shapes_do_not_differ_in_any_order() -> None:
    reference = {"a": torch.Size([2]), "b": torch.Size([3])}
    assert first_difference({"b": torch.Size([3]), "a": torch.Size([2])}, reference) is None


def test_the_weights_of_the_backbone_itself_are_taken() -> None:
    check_encoder_keys("file", BACKBONE.shapes, BACKBONE, BACKBONE.shapes)
    check_text_keys("file", REFERENCE, REFERENCE)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"norm.bias": None}, "'norm.bias' is missing"),
        ({"norm.bias": torch.Size([3])}, r"'norm.bias' has shape \(3,\) instead of \(64,\)"),
        ({"extra": torch.Size([1])}, "'extra' is not a part of it"),
    ],
)
def test_a_missing_a_misshapen_and_an_unknown_key_are_refused(
    change: dict[str, torch.Size | None], said: str
) -> None:
    changed = {**BACKBONE.shapes, **change}
    shapes = {key: shape for key, shape in changed.items() if shape is not None}
    with pytest.raises(CheckpointError, match=rf"^file does not fit the backbone '.*': {said}\."):
        check_encoder_keys("file", shapes, BACKBONE, shapes)


def test_another_architecture_is_told_by_all_keys_of_the_file() -> None:
    deeper = [*BACKBONE.shapes, "blocks.2.norm1.bias"]
    shapes = {key: shape for key, shape in BACKBONE.shapes.items() if key != "norm.bias"}
    with pytest.raises(CheckpointError, match=r"width 64, depth 3 .* one of width 64, depth 2"):
        check_encoder_keys("file", shapes, BACKBONE, deeper)


def test_parts_beside_all_the_weights_are_to_be_left_out() -> None:
    shapes = {**BACKBONE.shapes, "decoder.weight": torch.Size([2])}
    complaint = (
        r"'decoder\.weight' is not a part of it\. All of the backbone's weights are there: save "
        r"those of the encoder alone\.$"
    )
    with pytest.raises(CheckpointError, match=complaint):
        check_encoder_keys("file", shapes, BACKBONE, shapes)


@pytest.mark.parametrize(
    ("tokens", "advice"),
    [
        (1 + 36, r"Set `img_size: 96` among the options of the backbone, or use other weights\."),
        (1 + 37, "Use weights that were fine-tuned"),  # of no square image
        (0, "Use weights that were fine-tuned"),
    ],
)
def test_weights_for_larger_images_are_told_with_their_size(tokens: int, advice: str) -> None:
    shapes = {**BACKBONE.shapes, "pos_embed": torch.Size([1, tokens, 64])}
    with pytest.raises(CheckpointError, match=rf"'pos_embed' has shape .*\. {advice}"):
        check_encoder_keys("file", shapes, BACKBONE, shapes)


def test_another_text_tower_is_refused_with_what_to_do() -> None:
    with pytest.raises(CheckpointError, match=r"'b' is missing\. Give the name under which"):
        check_text_keys("file", {"a": torch.Size([2])}, REFERENCE)
