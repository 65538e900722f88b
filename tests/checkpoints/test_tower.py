"""Which tower of a file is meant; what it computes once it is read is in `test_forms`."""

from collections.abc import Iterable

import pytest
import torch

from wemoe_pl.checkpoints import Weights
from wemoe_pl.checkpoints.forms import TEXT_FORMS
from wemoe_pl.checkpoints.tower import find_tower, has_head
from wemoe_pl.errors import CheckpointError

MARKERS = {
    "timm": "patch_embed.proj.weight",
    "Hugging Face CLIP": "embeddings.class_embedding",
    "open_clip": "ln_pre.weight",
}


def weights(keys: Iterable[str]) -> Weights:
    """A file with these keys, of which no tensor is read."""
    return Weights("two.pt", dict.fromkeys(keys, torch.Size([2])), lambda key: torch.zeros(2), {})


@pytest.mark.parametrize("form", MARKERS)
def test_the_only_tower_is_found_with_its_prefix(form: str) -> None:
    tower = find_tower(weights([f"net.{MARKERS[form]}", "criterion.weight"]))
    assert (tower.form.name, tower.prefix) == (form, "net.")


@pytest.mark.parametrize("form", MARKERS)
def test_of_several_towers_none_is_chosen(form: str) -> None:
    keys = [f"online.{MARKERS[form]}", f"target.{MARKERS[form]}"]
    complaint = (
        r"^two\.pt holds 2 vision towers, whose keys begin with 'online\.' and 'target\.': save "
        r"the one that you mean in a file of its own\.$"
    )
    with pytest.raises(CheckpointError, match=complaint):
        find_tower(weights(keys))


def test_of_several_text_towers_none_is_chosen() -> None:
    keys = ["a.token_embedding.weight", "b.token_embedding.weight"]
    with pytest.raises(CheckpointError, match="holds 2 text towers"):
        find_tower(weights(keys), TEXT_FORMS)


@pytest.mark.parametrize(
    ("keys", "projection"),
    [
        (["module.vision_model.embeddings.class_embedding"], "module.visual_projection.weight"),
        (["embeddings.class_embedding"], "visual_projection.weight"),
        (["model.visual.ln_pre.weight"], "model.visual.proj"),
        (["visual.trunk.patch_embed.proj.weight"], "visual.trunk.head.weight"),
    ],
)
def test_the_projection_has_the_prefix_of_its_model(keys: list[str], projection: str) -> None:
    assert find_tower(weights(keys)).projection == projection
    assert not find_tower(weights(keys)).projects
    assert find_tower(weights([*keys, projection])).projects


def test_a_head_is_told_by_its_key() -> None:
    assert has_head({"head.weight": torch.Size([2, 3])})
    assert not has_head({"head_norm.weight": torch.Size([3])})
