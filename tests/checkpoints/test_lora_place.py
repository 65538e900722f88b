"""Where the layers of an adapter lie, by their names alone."""

import pytest
import torch
from helpers.lora_adapters import BACKBONE

from wemoe_pl.checkpoints.forms import HUGGING_FACE_CLIP, OPEN_CLIP, TIMM, Form
from wemoe_pl.checkpoints.lora_place import find_place, prefix_of
from wemoe_pl.errors import CheckpointError

SHAPES = {**BACKBONE.shapes, "head.weight": torch.Size([8, 16])}


@pytest.mark.parametrize(
    ("names", "form", "prefix"),
    [
        (["blocks.0.attn.qkv"], TIMM, ""),
        (["trunk.blocks.0.attn.qkv", "trunk.blocks.1.mlp.fc1"], TIMM, "trunk."),
        (["encoder.layers.0.self_attn.q_proj"], HUGGING_FACE_CLIP, ""),
        (
            [
                "vision_model.encoder.layers.0.self_attn.q_proj",
                "text_model.encoder.layers.0.self_attn.q_proj",
                "visual_projection",
            ],
            HUGGING_FACE_CLIP,
            "vision_model.",
        ),
        (["visual.transformer.resblocks.1.mlp.c_fc"], OPEN_CLIP, "visual."),
        (
            ["visual.transformer.resblocks.1.mlp.c_fc", "transformer.resblocks.1.mlp.c_fc"],
            OPEN_CLIP,
            "visual.",
        ),
        (["transformer.resblocks.0.attn.out_proj"], OPEN_CLIP, ""),
    ],
)
def test_names_tell_the_form_and_the_tower(names: list[str], form: Form, prefix: str) -> None:
    place = find_place("a", [f"{name}.weight" for name in names], SHAPES)
    assert (place.form.name, place.prefix) == (form.name, prefix)
    assert f"{names[0]}.weight" in place.names


def test_the_projection_lies_beside_the_tower() -> None:
    place = find_place("a", ["vision_model.encoder.layers.0.mlp.fc1.weight"], SHAPES)
    assert place.parts("head.weight")[0] == ("visual_projection.weight",)


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        ([], r"^a adapts nothing, and no layer of the backbone"),
        (["wte.weight", "h.0.weight"], r"^a adapts 'wte\.weight', 'h\.0\.weight', and no layer"),
        (["text_model.encoder.layers.0.mlp.fc1.weight"], r"and no layer .* on its vision tower\.$"),
        (
            ["student.blocks.0.mlp.fc1.weight", "teacher.blocks.0.mlp.fc1.weight"],
            r"^a adapts 2 encoders, whose layers begin with 'student\.' and 'teacher\.'",
        ),
    ],
)
def test_what_is_of_no_single_tower_is_refused(names: list[str], complaint: str) -> None:
    with pytest.raises(CheckpointError, match=complaint):
        find_place("a", names, SHAPES)


def test_a_prefix_ends_at_a_dot() -> None:
    assert prefix_of("myblocks.0.w", ["blocks.0.w"]) is None
