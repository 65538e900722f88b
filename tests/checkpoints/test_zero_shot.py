"""Zero-shot heads: against transformers and open_clip, and built once for what they are made of."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor, nn

from wemoe_pl.checkpoints import ENCODER_FILE, open_weights, zero_shot
from wemoe_pl.checkpoints.heads import HEAD_FILE, ClassificationHead, CosineHead
from wemoe_pl.checkpoints.zero_shot import TextTower, ZeroShotHead, fill
from wemoe_pl.errors import CheckpointError, ConfigError

WIDTH, HEADS, LAYERS, JOINT = 32, 4, 2, 16
OPTIONS = {"embed_dim": JOINT, "width": WIDTH, "heads": HEADS, "layers": LAYERS}
TOWER = TextTower("ViT-B-32-quickgelu", options=OPTIONS)
CLASSES = ("cat", "dog", "fire_truck")
TEMPLATES = ("a photo of a {}.", "the {}", "{}, {}!")
PROMPTS = [
    ["a photo of a cat.", "the cat", "cat, cat!"],
    ["a photo of a dog.", "the dog", "dog, dog!"],
    ["a photo of a fire truck.", "the fire truck", "fire truck, fire truck!"],
]
LOGIT_SCALE = 3.5  # in the file; the logits are multiplied by its exponential

EmbedText = Callable[[list[str]], Tensor]


def randomised(model: nn.Module) -> nn.Module:
    """The model with every weight drawn anew, so that none is as it starts."""
    generator = torch.Generator().manual_seed(0)
    for name, weight in model.eval().requires_grad_(False).named_parameters():
        if name == "logit_scale":
            weight.fill_(LOGIT_SCALE)
        else:
            nn.init.normal_(weight, mean=weight.mean().item(), std=0.2, generator=generator)
    return model


def written_out(embed: EmbedText) -> Tensor:
    """Class vectors (C, D): embed, normalise, average over templates, normalise."""
    rows = []
    for prompts in PROMPTS:
        embeddings = [embed([prompt])[0].double() for prompt in prompts]
        mean = sum(e / e.square().sum().sqrt() for e in embeddings) / len(embeddings)
        assert isinstance(mean, Tensor)
        rows.append(mean / mean.square().sum().sqrt())
    return torch.stack(rows).float()


# --- the same CLIP model in two forms --------------------------------------------------------


@pytest.fixture(scope="session")
def hugging_face(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, EmbedText]:
    """A folder that transformers wrote, and how transformers embeds texts with it."""
    transformers = pytest.importorskip("transformers")
    text = {
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "hidden_act": "quick_gelu",
        "bos_token_id": 49406,
        "eos_token_id": 49407,
    }
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    vision |= {"num_attention_heads": 4, "image_size": 32, "patch_size": 16}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=JOINT)
    model: Any = randomised(transformers.CLIPModel(config))
    folder = tmp_path_factory.mktemp("hugging_face")
    model.save_pretrained(folder)

    def embed(texts: list[str]) -> Tensor:
        features = model.get_text_features(open_clip.tokenizer.SimpleTokenizer()(texts))
        return getattr(features, "pooler_output", features)

    return str(folder), embed


@pytest.fixture(scope="session")
def of_open_clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, EmbedText]:
    """A state dict of open_clip's, and how open_clip embeds texts with it."""
    model = open_clip.CLIP(
        JOINT,
        open_clip.CLIPVisionCfg(layers=1, width=32, head_width=8, patch_size=16, image_size=32),
        open_clip.CLIPTextCfg(width=WIDTH, heads=HEADS, layers=LAYERS),
        quick_gelu=True,
    )
    randomised(model)
    path = tmp_path_factory.mktemp("open_clip") / "clip.pt"
    torch.save(model.state_dict(), path)
    return str(path), lambda texts: model.encode_text(open_clip.tokenizer.SimpleTokenizer()(texts))


@pytest.fixture(params=["hugging_face", "of_open_clip"])
def clip(request: pytest.FixtureRequest) -> tuple[str, EmbedText]:
    form: tuple[str, EmbedText] = request.getfixturevalue(request.param)
    return form


@pytest.fixture
def recipe(of_open_clip: tuple[str, EmbedText], cache: Path) -> ZeroShotHead:
    """A head that the cache does not hold."""
    return ZeroShotHead(TOWER, of_open_clip[0], CLASSES, TEMPLATES)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one."""
    monkeypatch.setenv("WEMOE_PL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks whose heads were built rather than read."""
    names: list[str] = []
    build = ZeroShotHead.build

    def counted(self: ZeroShotHead, name: str) -> CosineHead:
        names.append(name)
        return build(self, name)

    monkeypatch.setattr(ZeroShotHead, "build", counted)
    return names


def load(head: ZeroShotHead, name: str = "pets") -> CosineHead:
    loaded: ClassificationHead = head.load(name)
    assert isinstance(loaded, CosineHead)
    return loaded


# --- what it computes ------------------------------------------------------------------------


def test_class_vectors_match_those_written_out(clip: tuple[str, EmbedText], cache: Path) -> None:
    source, embed = clip
    head = load(ZeroShotHead(TOWER, source, CLASSES, TEMPLATES))
    expected = written_out(embed)
    assert head.weight.shape == expected.shape == (len(CLASSES), JOINT)
    assert (expected[0] - expected[1]).abs().max() > 0.01  # the classes are told apart
    assert (head.weight - expected).abs().max() <= 1e-5
    assert head.classes == CLASSES


def test_the_logit_scale_is_the_exponential_of_the_files(
    clip: tuple[str, EmbedText], cache: Path
) -> None:
    head = load(ZeroShotHead(TOWER, clip[0], CLASSES, TEMPLATES))
    assert head.logit_scale == pytest.approx(2.718281828459045**LOGIT_SCALE, rel=1e-6)


def test_the_form_of_the_activation_matters(recipe: ZeroShotHead) -> None:
    plain = replace(recipe, tower=replace(TOWER, model="ViT-B-32"))
    assert (load(plain).weight - load(recipe).weight).abs().max() > 1e-4


@pytest.mark.parametrize("prompts_per_batch", [1, 2, 6])
def test_batches_do_not_matter(
    prompts_per_batch: int, recipe: ZeroShotHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = recipe.build("pets")
    sizes: list[int] = []
    embed = zero_shot.TextEncoder.encode_text

    def counted(self: zero_shot.TextEncoder, tokens: Tensor, normalize: bool = False) -> Tensor:
        sizes.append(len(tokens))
        return embed(self, tokens, normalize)

    monkeypatch.setattr(zero_shot.TextEncoder, "encode_text", counted)
    monkeypatch.setattr(zero_shot, "PROMPTS_PER_BATCH", prompts_per_batch)
    pieces = recipe.build("pets")
    assert sizes == ([6, 3] if prompts_per_batch == 6 else [3, 3, 3])  # whole classes
    torch.testing.assert_close(pieces.weight, whole.weight, rtol=0, atol=1e-6)


def test_underscores_of_class_names_become_spaces_and_every_brace_is_filled() -> None:
    assert fill("a {} or {}", "fire_truck") == "a fire truck or fire truck"
    assert fill("a_photo of {}", "cat") == "a_photo of cat"


def test_a_head_is_frozen_and_shares_nothing_with_the_tower(recipe: ZeroShotHead) -> None:
    head = recipe.build("pets")
    assert [name for name, _ in head.named_parameters()] == ["weight"]
    assert not head.weight.requires_grad


# --- the cache -------------------------------------------------------------------------------


def test_a_second_load_builds_nothing_and_is_equal(recipe: ZeroShotHead, built: list[str]) -> None:
    first = load(recipe)
    second = load(replace(recipe), "animals")
    assert built == ["pets"]
    assert torch.equal(first.weight, second.weight)
    assert (first.classes, first.logit_scale) == (second.classes, second.logit_scale)


def test_a_head_in_the_cache_is_refused_too_if_its_weights_are_for_another_tower(
    hugging_face: tuple[str, EmbedText], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier versions built it without looking at the config beside the weights."""
    head = ZeroShotHead(replace(TOWER, model="ViT-B-32"), hugging_face[0], CLASSES, TEMPLATES)
    with monkeypatch.context() as earlier:
        earlier.setattr("wemoe_pl.checkpoints.encoder.check_config", lambda *arguments: None)
        load(head)
    assert head.path.is_file()
    with pytest.raises(
        CheckpointError, match=r"config\.json .* is quick_gelu, .* is gelu: give the"
    ):
        load(head)


def test_the_cache_keeps_it_with_what_it_is_made_of(recipe: ZeroShotHead, cache: Path) -> None:
    load(recipe)
    assert list(cache.rglob("*.safetensors")) == [recipe.path]
    metadata = open_weights(str(recipe.path), HEAD_FILE).metadata
    assert json.loads(metadata["identity"]) == recipe.identity
    assert recipe.identity["classes"] == list(CLASSES)


def changed_weights(recipe: ZeroShotHead, folder: Path) -> ZeroShotHead:
    weights = torch.load(recipe.source)
    weights["ln_final.bias"] = weights["ln_final.bias"] + 1
    torch.save(weights, folder / "other.pt")
    return replace(recipe, source=str(folder / "other.pt"))


CHANGES: dict[str, Callable[[ZeroShotHead, Path], ZeroShotHead]] = {
    "a prompt": lambda recipe, _: replace(recipe, templates=(*TEMPLATES[:-1], "this {}")),
    "the order of prompts": lambda recipe, _: replace(recipe, templates=TEMPLATES[::-1]),
    "a class": lambda recipe, _: replace(recipe, classes=("cat", "dog", "horse")),
    "the order of classes": lambda recipe, _: replace(recipe, classes=CLASSES[::-1]),
    "the model": lambda recipe, _: replace(recipe, tower=replace(TOWER, model="ViT-B-32")),
    "an option": lambda recipe, _: replace(
        recipe, tower=replace(TOWER, options=OPTIONS | {"heads": 2})
    ),
    "the weights": changed_weights,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_head_of_anything_else_is_another_file(
    change: str, recipe: ZeroShotHead, built: list[str], tmp_path: Path
) -> None:
    other = CHANGES[change](recipe, tmp_path)
    assert other.path != recipe.path
    load(recipe)
    load(other, "changed")
    assert built == ["pets", "changed"]


def test_the_same_weights_in_another_folder_are_the_same_head(
    recipe: ZeroShotHead, built: list[str], tmp_path: Path
) -> None:
    (tmp_path / "copied.pt").write_bytes(Path(recipe.source).read_bytes())
    copied = replace(recipe, source=str(tmp_path / "copied.pt"))
    assert copied.identity == recipe.identity
    assert copied.path == recipe.path
    load(recipe)
    load(copied)
    assert built == ["pets"]


def test_a_build_that_fails_leaves_nothing_to_be_read(
    recipe: ZeroShotHead, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: ZeroShotHead, name: str) -> CosineHead:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ZeroShotHead, "build", interrupted)
        with pytest.raises(KeyboardInterrupt):
            recipe.load("pets")
    assert not list(cache.rglob("*.safetensors"))
    assert load(recipe).classes == CLASSES


# --- what it refuses -------------------------------------------------------------------------


@pytest.mark.parametrize("template", ["a photo", "a photo of a {0}.", "{ }"])
def test_a_template_without_a_place_for_the_class_is_refused(template: str) -> None:
    with pytest.raises(ConfigError) as error:
        ZeroShotHead(TOWER, "anywhere", CLASSES, ("the {}", template))
    assert str(error.value) == (
        f"The template '{template}' has no '{{}}' in the place of the class name."
    )


@pytest.mark.parametrize(("classes", "templates"), [((), TEMPLATES), (CLASSES, ())])
def test_a_head_of_no_classes_or_no_templates_is_refused(
    classes: tuple[str, ...], templates: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError, match="needs class names and at least one template"):
        ZeroShotHead(TOWER, "anywhere", classes, templates)


def test_a_class_without_a_name_has_no_prompt() -> None:
    with pytest.raises(ConfigError, match="A zero-shot head has an empty name for class 1"):
        ZeroShotHead(TOWER, "anywhere", ("cat", ""), TEMPLATES)


def test_an_unknown_model_is_answered_with_the_nearest() -> None:
    complaint = r"open_clip has no model 'ViT-B-23-quickgelu'\. Did you mean 'ViT-B-32-quickgelu'\?"
    with pytest.raises(ConfigError, match=complaint):
        TextTower("ViT-B-23-quickgelu").build()


@pytest.mark.parametrize("options", [{"witdh": 32}, {"heads": 5}], ids=str)
def test_options_that_no_tower_can_have_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"'ViT-B-32-quickgelu' cannot be built with options"):
        TextTower("ViT-B-32-quickgelu", options=OPTIONS | options).build()


def test_a_tower_that_is_not_clips_own_is_refused_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match=r"not CLIP's own, give heads .* `suite\.heads`"):
        TextTower("roberta-ViT-B-32").build()


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"width": 16}, r"'positional_embedding' has shape \(77, 32\) instead of \(77, 16\)"),
        ({"embed_dim": 8}, r"'text_projection' has shape \(32, 16\) instead of \(32, 8\)"),
        ({"layers": 3}, r"'transformer\.resblocks\.2\.ln_1\.weight' is missing"),
        ({"layers": 1}, r"'.*\.1\..*' is not a part of it"),
    ],
    ids=str,
)
def test_weights_of_another_size_are_refused_with_the_first_key(
    options: dict[str, int], difference: str, clip: tuple[str, EmbedText], cache: Path
) -> None:
    head = ZeroShotHead(replace(TOWER, options=OPTIONS | options), clip[0], CLASSES, TEMPLATES)
    with pytest.raises(
        CheckpointError, match=rf"text tower in .* does not fit the .*: {difference}"
    ):
        head.load("pets")


def test_a_vision_tower_alone_has_no_text_tower(
    pretrained: nn.Module, cache: Path, tmp_path: Path
) -> None:
    torch.save(deepcopy(pretrained.state_dict()), tmp_path / "vision.pt")
    head = ZeroShotHead(TOWER, str(tmp_path / "vision.pt"), CLASSES, TEMPLATES)
    with pytest.raises(CheckpointError, match=r"vision\.pt has no text tower of a known form"):
        head.load("pets")


def test_weights_without_a_logit_scale_are_refused(recipe: ZeroShotHead, tmp_path: Path) -> None:
    weights = dict(open_weights(recipe.source, ENCODER_FILE))
    del weights["logit_scale"]
    torch.save(weights, tmp_path / "unscaled.pt")
    with pytest.raises(CheckpointError, match=r"unscaled\.pt .*'logit_scale' is missing"):
        replace(recipe, source=str(tmp_path / "unscaled.pt")).load("pets")
