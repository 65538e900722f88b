"""A suite holds together: its tasks, experts and heads belong to each other and to one backbone."""

import shutil
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from helpers.hub_content import read_model, write_clip, write_expert
from PIL import Image
from safetensors.torch import load_file
from timm.data.readers.reader_image_folder import find_images_and_targets
from torch import nn
from torchvision.datasets import ImageFolder

from wemoe_pl.checkpoints import ENCODER_FILE, Backbone, LazyState, State, save_tensors
from wemoe_pl.checkpoints.heads import HEAD_FILE, CosineHead, LinearHead, save_head
from wemoe_pl.checkpoints.zero_shot import TextTower
from wemoe_pl.data.miniature import CLASSES, MiniatureTask
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import ImageFolderTask, ParquetTask, VisionTask
from wemoe_pl.errors import CheckpointError, ConfigError
from wemoe_pl.system.files import sha256

SIZES = {"img_size": 64, "patch_size": 16, "embed_dim": 64, "depth": 2, "num_heads": 4}
CLIP = Backbone("vit_base_patch32_clip_quickgelu_224", {**SIZES, "num_classes": 32})
TEXT_SIZES = {"embed_dim": 32, "width": 32, "heads": 2, "layers": 2}
TEXT = TextTower("ViT-B-32-quickgelu", options=TEXT_SIZES)


@pytest.fixture(scope="module")
def clip_suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """A whole CLIP model and two vision-only experts of it, as published: no head in a file."""
    folder = tmp_path_factory.mktemp("clip_suite")
    write_clip(folder / "clip", seed=0)
    for seed, task in enumerate(("cars", "dtd"), start=1):
        write_expert(folder / task, folder / "clip", seed)
    return Suite(
        name="clip",
        backbone=CLIP,
        pretrained=str(folder / "clip"),
        experts={task: str(folder / task) for task in ("cars", "dtd")},
        text_tower=TEXT,
        tasks={task: MiniatureTask(task, train_size=10, test_size=10) for task in ("cars", "dtd")},
    )


def assert_weights(state: State, source: str) -> None:
    torch.testing.assert_close(dict(state), load_file(source), rtol=0, atol=0)


def test_encoders_are_read_from_the_files_of_the_suite(tiny_suite: Suite) -> None:
    assert_weights(tiny_suite.load_pretrained().state_dict(), tiny_suite.pretrained)
    assert_weights(tiny_suite.open_pretrained(), tiny_suite.pretrained)
    experts = tiny_suite.load_experts()
    assert list(experts) == list(tiny_suite.experts)
    for task, expert in experts.items():
        assert_weights(expert, tiny_suite.experts[task])


def test_the_weights_of_experts_are_read_when_asked_for(tiny_suite: Suite, tmp_path: Path) -> None:
    path = tmp_path / "cars.safetensors"
    path.write_bytes(Path(tiny_suite.experts["cars"]).read_bytes())
    suite = replace(tiny_suite, experts={"cars": str(path)})
    expert = suite.load_experts()["cars"]
    assert isinstance(expert, LazyState)
    changed = {key: tensor + 1 for key, tensor in load_file(path).items()}
    save_tensors(path, changed, {})
    assert_weights(expert, str(path))


def test_every_source_may_be_a_folder(tiny_suite: Suite, tmp_path: Path) -> None:
    files = {"pretrained": tiny_suite.pretrained, **tiny_suite.experts}
    for name, source in files.items():
        (tmp_path / name).mkdir()
        shutil.copy(source, tmp_path / name / ENCODER_FILE)
    folders = {task: str(tmp_path / task) for task in tiny_suite.experts}
    suite = replace(tiny_suite, pretrained=str(tmp_path / "pretrained"), experts=folders)
    assert_weights(suite.load_pretrained().state_dict(), tiny_suite.pretrained)
    for task, expert in suite.load_experts().items():
        assert_weights(expert, tiny_suite.experts[task])


def test_experts_without_a_projection_get_that_of_the_pretrained_model(clip_suite: Suite) -> None:
    theirs = read_model(Path(clip_suite.pretrained))["visual_projection.weight"].float()
    pretrained = clip_suite.load_pretrained().state_dict()
    assert torch.equal(pretrained["head.weight"], theirs)
    for task, expert in clip_suite.load_experts().items():
        tower = read_model(Path(clip_suite.experts[task]))
        assert not any("projection" in key for key in tower)
        assert set(expert) == set(pretrained)
        assert torch.equal(expert["head.weight"], theirs)
        assert not expert["head.bias"].any()
        norm = tower["vision_model.post_layernorm.weight"].float()
        assert torch.equal(expert["norm.weight"], norm)
        assert not torch.equal(norm, pretrained["norm.weight"])


def test_an_expert_with_a_projection_keeps_its_own(clip_suite: Suite, tmp_path: Path) -> None:
    own = write_clip(tmp_path, seed=9)["visual_projection.weight"].float()
    [expert] = replace(clip_suite, experts={"cars": str(tmp_path)}).load_experts().values()
    assert torch.equal(expert["head.weight"], own)
    assert not torch.equal(own, clip_suite.open_pretrained()["head.weight"])


# --- tasks -----------------------------------------------------------------------------------


def test_a_task_is_found_by_name(tiny_suite: Suite) -> None:
    assert tiny_suite.task("dtd") is tiny_suite.tasks["dtd"]


def test_an_unknown_task_is_answered_with_the_nearest(tiny_suite: Suite) -> None:
    with pytest.raises(ConfigError) as error:
        tiny_suite.task("mnits")
    assert str(error.value) == (
        "The suite 'tiny' has no task 'mnits'. Did you mean 'mnist'? Valid names: cars, dtd, mnist."
    )


def test_experts_and_heads_of_unknown_tasks_are_refused(tiny_suite: Suite) -> None:
    complaint = r"no task 'crs'\. Did you mean 'cars'\?"
    with pytest.raises(ConfigError, match=complaint):
        replace(tiny_suite, experts={"crs": "anywhere"})
    with pytest.raises(ConfigError, match=complaint):
        replace(tiny_suite, heads={"crs": "anywhere"})


@pytest.mark.parametrize("name", ["sun397", "8-bit", "my_task", "Cars", "values2"])
def test_a_task_may_have_any_name_of_letters_and_digits(name: str, tiny_suite: Suite) -> None:
    suite = replace(tiny_suite, tasks={name: MiniatureTask("dtd")}, experts={}, heads={})
    assert list(nn.ModuleDict(dict.fromkeys(suite.tasks, nn.Identity()))) == [name]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "vit.cars",
        "a/b",
        "two words",
        "-v",
        "_x",
        "straße",
        "keys",
        "type",
        "training",
        "a" * 101,
    ],
)
def test_a_name_that_pytorch_or_a_shell_refuses_is_refused(name: str, tiny_suite: Suite) -> None:
    with pytest.raises(ConfigError, match=rf"^'{name}' cannot be the name of a task: use letters"):
        replace(tiny_suite, tasks={name: MiniatureTask("dtd")}, experts={}, heads={})


@pytest.mark.parametrize("part", ["tasks", "experts", "heads"])
@pytest.mark.parametrize("name", [1, True, None])
def test_a_name_that_yaml_took_for_something_else_is_to_be_quoted(
    part: str, name: Any, tiny_suite: Suite
) -> None:
    parts: dict[str, Any] = {part: {name: getattr(tiny_suite, part)["dtd"]}}
    with pytest.raises(
        ConfigError, match=rf"^YAML does not read the task name {name} as text: put quo"
    ):
        replace(tiny_suite, **parts)


# --- experts ---------------------------------------------------------------------------------


def test_a_suite_without_experts_says_where_to_list_them(tiny_suite: Suite) -> None:
    with pytest.raises(ConfigError, match=r"'tiny' has no expert: .*`suite\.experts`"):
        replace(tiny_suite, experts={}).load_experts()


def test_an_expert_of_another_backbone_is_refused_by_its_file(
    tiny_suite: Suite, tmp_path: Path, tiny_vit: Callable[..., nn.Module]
) -> None:
    save_tensors(tmp_path / "foreign.safetensors", tiny_vit(0, embed_dim=32).state_dict(), {})
    foreign = {"cars": str(tmp_path / "foreign.safetensors")}
    with pytest.raises(CheckpointError, match=r"foreign\.safetensors does not fit .*'cls_token'"):
        replace(tiny_suite, experts=tiny_suite.experts | foreign).load_experts()


def test_an_expert_of_other_patches_is_refused_with_both_sizes(
    clip_suite: Suite, tmp_path: Path
) -> None:
    write_expert(tmp_path / "other", write_clip(tmp_path / "clip", 0, patch_size=32), seed=1)
    suite = replace(clip_suite, experts={"cars": str(tmp_path / "other")})
    with pytest.raises(CheckpointError, match=r"other/.* of 32 pixels and the .* of 16 pixels"):
        suite.load_experts()


def test_a_pretrained_vision_tower_alone_has_no_projection_to_give(clip_suite: Suite) -> None:
    tower = replace(clip_suite, pretrained=clip_suite.experts["dtd"])
    for read in (tower.load_pretrained, tower.load_experts):
        with pytest.raises(CheckpointError, match=r"/dtd/.* has no projection \('visual_proj"):
            read()


# --- heads -----------------------------------------------------------------------------------


def suite_with_head(suite: Suite, path: Path, classes: tuple[str, ...], width: int = 16) -> Suite:
    """The suite, with another head for DTD."""
    save_head(path / HEAD_FILE, CosineHead(torch.ones(len(classes), width), classes, 10.0), {})
    return replace(suite, heads=suite.heads | {"dtd": str(path)})


def test_a_head_of_the_same_classes_is_read(tiny_suite: Suite, tmp_path: Path) -> None:
    head = suite_with_head(tiny_suite, tmp_path, CLASSES["dtd"]).load_head("dtd")
    assert torch.equal(head.weight, torch.ones(len(CLASSES["dtd"]), 16))


def test_a_classifier_is_a_head_whose_classes_are_those_of_the_images(
    tiny_suite: Suite, tmp_path: Path
) -> None:
    """As timm saves one: a whole encoder with a last layer, and no class names."""
    count = len(CLASSES["dtd"])
    layer = {"head.weight": torch.randn(count, 16), "head.bias": torch.randn(count)}
    save_tensors(tmp_path / "model.safetensors", load_file(tiny_suite.pretrained) | layer, {})
    suite = replace(tiny_suite, heads={"dtd": str(tmp_path)})
    head = suite.load_head("dtd")
    assert isinstance(head, LinearHead)
    assert head.classes == CLASSES["dtd"]
    assert torch.equal(head.weight, layer["head.weight"])
    assert torch.equal(head.bias, layer["head.bias"])


def test_a_classifier_may_be_the_expert_too(tiny_suite: Suite, tmp_path: Path) -> None:
    layer = {"head.weight": torch.randn(10, 16), "head.bias": torch.randn(10)}
    encoder = load_file(tiny_suite.experts["dtd"])
    save_tensors(tmp_path / "model.safetensors", encoder | layer, {})
    suite = replace(tiny_suite, heads={"dtd": str(tmp_path)}, experts={"dtd": str(tmp_path)})
    assert_weights(suite.load_experts()["dtd"], tiny_suite.experts["dtd"])
    assert torch.equal(suite.load_head("dtd").weight, layer["head.weight"])


@pytest.mark.parametrize("check", [True, False])
def test_a_classifier_of_another_number_of_classes_is_refused(
    check: bool, tiny_suite: Suite, tmp_path: Path
) -> None:
    layer = {"head.weight": torch.randn(3, 16), "head.bias": torch.randn(3)}
    save_tensors(tmp_path / "model.safetensors", layer, {})
    suite = replace(tiny_suite, heads={"dtd": str(tmp_path)})
    complaint = rf"has 3 classes, but its images have {len(CLASSES['dtd'])}: use a head"
    with pytest.raises(CheckpointError, match=complaint):
        suite.load_head("dtd", check)


def test_a_classifier_whose_classes_nobody_knows_says_where_to_give_them(
    tiny_suite: Suite, tmp_path: Path
) -> None:
    save_tensors(tmp_path / "model.safetensors", {"head.weight": torch.randn(3, 16)}, {})
    task = ImageFolderTask(test=str(tmp_path), labelled=False)
    suite = replace(
        tiny_suite, tasks=tiny_suite.tasks | {"dtd": task}, heads={"dtd": str(tmp_path)}
    )
    with pytest.raises(CheckpointError, match=r"does not name its 3 classes: .*`class_names`"):
        suite.load_head("dtd")


def test_of_images_without_labels_only_the_head_knows_the_classes(
    tiny_suite: Suite, tmp_path: Path
) -> None:
    task = ImageFolderTask(test=str(tmp_path), labelled=False)
    suite = replace(tiny_suite, tasks=tiny_suite.tasks | {"dtd": task})
    assert suite.load_head("dtd").classes == CLASSES["dtd"]


def test_a_task_without_a_head_says_how_to_get_one(tiny_suite: Suite) -> None:
    with pytest.raises(ConfigError) as error:
        replace(tiny_suite, heads={}).load_head("dtd")
    assert str(error.value) == (
        "The suite 'tiny' has no head for 'dtd': add `heads: {dtd: FILE}`, or a `text_tower` to "
        "make it from the class names."
    )


def test_classes_in_another_order_are_refused_with_the_first_that_differs(
    tiny_suite: Suite, tmp_path: Path
) -> None:
    zero, one, two, *rest = CLASSES["dtd"]
    suite = suite_with_head(tiny_suite, tmp_path, (zero, two, one, *rest))
    complaint = rf"head of 'dtd' names class 1 '{two}', but its images name it '{one}': put the"
    with pytest.raises(CheckpointError, match=complaint):
        suite.load_head("dtd")


def test_classes_are_not_compared_where_images_may_be_absent(
    tiny_suite: Suite, tmp_path: Path
) -> None:
    turned = CLASSES["dtd"][::-1]
    suite = suite_with_head(tiny_suite, tmp_path, turned)
    assert suite.load_head("dtd", check_classes=False).classes == turned


@pytest.mark.parametrize("extra", [-1, 1])
def test_another_number_of_classes_is_refused_with_both(
    extra: int, tiny_suite: Suite, tmp_path: Path
) -> None:
    ours = CLASSES["dtd"][:-1] if extra < 0 else (*CLASSES["dtd"], "smooth")
    suite = suite_with_head(tiny_suite, tmp_path, ours)
    complaint = rf"head of 'dtd' has {len(ours)} classes, but its images have {len(CLASSES['dtd'])}"
    with pytest.raises(CheckpointError, match=complaint):
        suite.load_head("dtd")


def test_the_classes_of_a_folder_of_images_are_compared_too(
    tiny_suite: Suite, tmp_path: Path
) -> None:
    task = ImageFolderTask(class_names=("smooth", *CLASSES["dtd"][1:]))
    suite = replace(tiny_suite, tasks=tiny_suite.tasks | {"dtd": task})
    with pytest.raises(CheckpointError, match=r"head of 'dtd' names class 0 .* name it 'smooth'"):
        suite.load_head("dtd")


def test_a_head_for_other_features_is_refused_with_both_widths(
    tiny_suite: Suite, tmp_path: Path
) -> None:
    suite = suite_with_head(tiny_suite, tmp_path, CLASSES["dtd"], width=512)
    with pytest.raises(CheckpointError, match=r"for 512 features, but 'vit_tiny_.*' has 16: use"):
        suite.load_head("dtd")


# --- heads without names ---------------------------------------------------------------------


def suite_of_classifier(suite: Suite, folder: Path, task: VisionTask, count: int) -> Suite:
    """The suite, with a head that does not name its classes, as timm saves one."""
    layer = {"head.weight": torch.randn(count, 16), "head.bias": torch.randn(count)}
    save_tensors(folder / "model.safetensors", load_file(suite.pretrained) | layer, {})
    return replace(
        suite,
        tasks=suite.tasks | {"dtd": task},
        heads=suite.heads | {"dtd": str(folder / "model.safetensors")},
    )


def folders(parent: Path, names: Iterable[str]) -> str:
    for name in names:
        (parent / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(parent / name / "0.png")
    return str(parent)


@pytest.mark.parametrize("names", [["1", "2", "3"], ["cat", "dog", "cow"], ["a1", "a2", "b"]])
def test_folders_in_one_order_to_torchvision_and_timm_name_the_classes_of_a_head(
    names: list[str], tiny_suite: Suite, tmp_path: Path
) -> None:
    task = ImageFolderTask(test=folders(tmp_path / "images", names))
    head = suite_of_classifier(tiny_suite, tmp_path, task, 3).load_head("dtd")
    _, timm = find_images_and_targets(str(tmp_path / "images"))
    assert head.classes == tuple(timm) == tuple(ImageFolder(tmp_path / "images").classes)


@pytest.mark.parametrize(
    ("names", "orders"),
    [
        (["1", "2", "10"], "torchvision's is 1, 10, 2; timm's is 1, 2, 10"),
        (["ant", "Bee"], "torchvision's is Bee, ant; timm's is ant, Bee"),
        (["A", "a"], "torchvision's is A, a; timm's is a, A"),
        (
            [str(number) for number in range(100)],
            "from class 2 on, torchvision's is 10, 11, 12, 13, 14 and 93 more; timm's is 2, 3, 4, "
            "5, 6 and 93 more",
        ),
    ],
    ids=str,
)
def test_folders_that_determine_no_order_are_refused_with_both_until_one_is_given(
    names: list[str], orders: str, tiny_suite: Suite, tmp_path: Path
) -> None:
    images = folders(tmp_path / "images", names)
    suite = suite_of_classifier(tiny_suite, tmp_path, ImageFolderTask(test=images), len(names))
    for check in (True, False):
        with pytest.raises(CheckpointError) as error:
            suite.load_head("dtd", check)
        assert str(error.value) == (
            "The head of 'dtd' does not name its classes, and nothing tells in which of these "
            f"orders it has them: {orders}. Give the right one as the task's `class_names`."
        )
    task = ImageFolderTask(test=images, class_names=tuple(names))
    assert replace(suite, tasks={**suite.tasks, "dtd": task}).load_head("dtd").classes == (*names,)


def test_a_head_that_names_its_classes_does_not_depend_on_the_order_of_folders(
    tiny_suite: Suite, tmp_path: Path
) -> None:
    task = ImageFolderTask(test=folders(tmp_path / "images", ["1", "2", "10"]))
    suite = suite_with_head(tiny_suite, tmp_path, ("1", "10", "2"))
    suite = replace(suite, tasks=suite.tasks | {"dtd": task})
    assert suite.load_head("dtd").classes == ("1", "10", "2")


@pytest.mark.parametrize("listed", [False, True])
def test_a_column_of_names_determines_no_order_unless_it_is_sorted(
    listed: bool, tiny_suite: Suite, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    table = pa.table({"image": [{"bytes": b"", "path": None}] * 2, "label": ["dog", "cat"]})
    pq.write_table(table, tmp_path / "data" / "test-0.parquet")
    task = ParquetTask(str(tmp_path), class_names=("dog", "cat") if listed else None)
    suite = suite_of_classifier(tiny_suite, tmp_path, task, 2)
    if listed:
        assert suite.load_head("dtd").classes == ("dog", "cat")
        return
    with pytest.raises(
        CheckpointError, match=r"datasets's is cat, dog; pandas's is dog, cat\. Giv"
    ):
        suite.load_head("dtd")


# --- names of classes ------------------------------------------------------------------------


def test_a_head_may_spell_a_class_otherwise_where_that_is_unique(
    tiny_suite: Suite, tmp_path: Path
) -> None:
    suite = suite_with_head(tiny_suite, tmp_path, ("Cafe\N{COMBINING ACUTE ACCENT}", "Hot_Dog"))
    task = ImageFolderTask(class_names=("café", "hot dog"))
    assert len(replace(suite, tasks=suite.tasks | {"dtd": task}).load_head("dtd").classes) == 2


@pytest.mark.parametrize("pair", [("+1", "-1"), ("A", "a"), ("C", "C++"), ("का", "कि")], ids=str)
def test_classes_that_differ_in_a_sign_may_not_change_places(
    pair: tuple[str, str], tiny_suite: Suite, tmp_path: Path
) -> None:
    suite = suite_with_head(tiny_suite, tmp_path, pair)
    suite = replace(suite, tasks=suite.tasks | {"dtd": ImageFolderTask(class_names=pair[::-1])})
    with pytest.raises(
        CheckpointError, match=r"names class 0 .*: put the classes in one order; if"
    ):
        suite.load_head("dtd")


def test_a_class_that_only_the_head_knows_can_be_named(tiny_suite: Suite, tmp_path: Path) -> None:
    suite = suite_with_head(tiny_suite, tmp_path, ("cat", "cow", "dog"))
    images = folders(tmp_path / "images", ["cat", "dog"])
    suite = replace(suite, tasks=suite.tasks | {"dtd": ImageFolderTask(test=images)})
    with pytest.raises(CheckpointError, match=r"3 classes, but its images have 2: .*`class_names`"):
        suite.load_head("dtd")
    named = ImageFolderTask(test=images, class_names=("cat", "cow", "dog"))
    suite = replace(suite, tasks=suite.tasks | {"dtd": named})
    assert suite.load_head("dtd").classes == ("cat", "cow", "dog")


# --- zero-shot heads -------------------------------------------------------------------------


def test_a_task_without_a_head_gets_one_from_the_text_tower(clip_suite: Suite) -> None:
    head = clip_suite.load_head("dtd")
    assert isinstance(head, CosineHead)
    assert head.classes == CLASSES["dtd"]
    assert head.weight.shape == (len(CLASSES["dtd"]), 32)
    assert head.logit_scale == pytest.approx(100, rel=0.01)
    again = clip_suite.zero_shot_head("dtd").build("dtd")
    torch.testing.assert_close(head.weight, again.weight)
    assert not torch.equal(head.weight, clip_suite.load_head("cars").weight)


def test_a_head_in_a_file_goes_before_the_text_tower(clip_suite: Suite, tmp_path: Path) -> None:
    suite = suite_with_head(clip_suite, tmp_path, CLASSES["dtd"], width=32)
    assert torch.equal(suite.load_head("dtd").weight, torch.ones(len(CLASSES["dtd"]), 32))
    assert suite.tasks_with_made_heads == ["cars"]
    assert clip_suite.tasks_with_made_heads == ["cars", "dtd"]
    assert replace(clip_suite, text_tower=None).tasks_with_made_heads == []


def test_the_text_tower_can_have_weights_of_its_own(clip_suite: Suite, tmp_path: Path) -> None:
    write_clip(tmp_path, seed=9)
    suite = replace(clip_suite, text_tower=replace(TEXT, source=str(tmp_path)))
    assert (suite.text_source, clip_suite.text_source) == (str(tmp_path), clip_suite.pretrained)
    assert suite.zero_shot_head("dtd").source == str(tmp_path)
    assert not torch.equal(suite.load_head("dtd").weight, clip_suite.load_head("dtd").weight)


def test_a_zero_shot_head_needs_the_names_of_classes(clip_suite: Suite, tmp_path: Path) -> None:
    task = ImageFolderTask(test=str(tmp_path), labelled=False)
    suite = replace(clip_suite, tasks=clip_suite.tasks | {"dtd": task})
    with pytest.raises(ConfigError, match=r"classes of 'dtd' are not known: .*`class_names`"):
        suite.load_head("dtd")


def test_a_zero_shot_head_is_of_the_classes_and_prompts_of_its_task(clip_suite: Suite) -> None:
    task = ImageFolderTask(class_names=("a", "b"), templates=("one {}", "two {}"))
    head = replace(clip_suite, tasks=clip_suite.tasks | {"dtd": task}).zero_shot_head("dtd")
    assert (head.classes, head.templates) == (("a", "b"), ("one {}", "two {}"))


def test_a_text_tower_of_another_width_than_the_backbone_is_refused(clip_suite: Suite) -> None:
    wide = replace(CLIP, options=CLIP.options | {"num_classes": 0})
    with pytest.raises(CheckpointError, match=r"for 32 features, but 'vit_base_.*' has 64"):
        replace(clip_suite, backbone=wide).load_head("dtd")


@pytest.mark.parametrize(
    ("vision", "text"),
    [("_quickgelu", ""), ("", "-quickgelu"), ("", ""), ("_quickgelu", "-quickgelu")],
)
def test_both_towers_have_one_activation(clip_suite: Suite, vision: str, text: str) -> None:
    backbone = replace(CLIP, model=f"vit_base_patch32_clip{vision}_224")
    tower = replace(TEXT, model=f"ViT-B-32{text}")
    if bool(vision) == bool(text):
        suite = replace(clip_suite, backbone=backbone, text_tower=tower)
        if vision:
            assert suite.load_head("dtd")
        else:  # which the weights of this suite are not for, as their config tells
            with pytest.raises(CheckpointError, match=r"config\.json .* is quick_gelu, .* is gelu"):
                suite.load_head("dtd")
        return
    with pytest.raises(ConfigError) as error:
        replace(clip_suite, backbone=backbone, text_tower=tower)
    assert str(error.value) == (
        f"The backbone '{backbone.model}' and the text tower '{tower.model}' have different "
        "activations: OpenAI's CLIP needs `quickgelu` in both names, other CLIP models in neither."
    )


# --- sources ---------------------------------------------------------------------------------


def test_sources_name_every_frozen_file_with_its_hash(tiny_suite: Suite) -> None:
    files = {"pretrained": tiny_suite.pretrained}
    files |= {f"experts/{task}": source for task, source in tiny_suite.experts.items()}
    files |= {f"heads/{task}": source for task, source in tiny_suite.heads.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sources = tiny_suite.sources()
    assert sources == {
        part: {"source": path, "sha256": sha256(Path(path))} for part, path in files.items()
    }


def test_a_folder_is_identified_by_the_file_in_it(
    tiny_suite: Suite, tmp_path: Path, pretrained: nn.Module
) -> None:
    save_tensors(tmp_path / ENCODER_FILE, pretrained.state_dict(), {})
    sources = replace(tiny_suite, pretrained=str(tmp_path)).sources()
    assert sources["pretrained"]["sha256"] == sha256(tmp_path / ENCODER_FILE)


@pytest.mark.filterwarnings("error")
def test_zero_shot_heads_are_identified_by_all_that_makes_them(
    clip_suite: Suite, tmp_path: Path
) -> None:
    sources = clip_suite.sources()
    assert list(sources) == ["pretrained", "experts/cars", "experts/dtd", "heads/cars", "heads/dtd"]
    assert sources["heads/dtd"] == {
        "source": f"zero-shot, by {clip_suite.pretrained}",
        "sha256": clip_suite.zero_shot_head("dtd").digest,
    }
    assert sources["heads/dtd"]["sha256"] != sources["heads/cars"]["sha256"]
    assert sources["experts/cars"]["sha256"] == sha256(
        Path(clip_suite.experts["cars"]) / "model.safetensors"
    )
    write_clip(tmp_path, seed=9)
    other = replace(clip_suite, text_tower=replace(TEXT, source=str(tmp_path))).sources()
    assert {part for part in sources if other[part] != sources[part]} == {"heads/cars", "heads/dtd"}
    renamed = ImageFolderTask(class_names=("smooth", *CLASSES["dtd"][1:]))
    other = replace(clip_suite, tasks=clip_suite.tasks | {"dtd": renamed}).sources()
    assert {part for part in sources if other[part] != sources[part]} == {"heads/dtd"}


def test_a_text_tower_that_makes_no_head_is_not_among_the_sources(
    clip_suite: Suite, tmp_path: Path
) -> None:
    head = suite_with_head(clip_suite, tmp_path, CLASSES["dtd"], width=32).heads["dtd"]
    without = replace(clip_suite, heads=dict.fromkeys(clip_suite.tasks, head), text_tower=None)
    idle = replace(without, text_tower=replace(TEXT, source="nowhere"))
    assert idle.sources() == without.sources()
    assert idle.named_sources() == without.named_sources()


def test_files_of_weights_are_named_once_for_all_that_is_made_of_them(
    clip_suite: Suite, tiny_suite: Suite
) -> None:
    assert clip_suite.named_sources() == {
        "pretrained": (clip_suite.pretrained, ENCODER_FILE),
        "experts/cars": (clip_suite.experts["cars"], ENCODER_FILE),
        "experts/dtd": (clip_suite.experts["dtd"], ENCODER_FILE),
        "text tower": (clip_suite.pretrained, ENCODER_FILE),
    }
    assert tiny_suite.named_sources()["heads/dtd"] == (tiny_suite.heads["dtd"], HEAD_FILE)
    assert "text tower" not in tiny_suite.named_sources()


@pytest.mark.parametrize("copied", [False, True])
def test_one_expert_for_two_tasks_is_warned_of(
    copied: bool, tiny_suite: Suite, tmp_path: Path
) -> None:
    source = tiny_suite.experts["cars"]
    if copied:
        source = str(tmp_path / "copy.safetensors")
        Path(source).write_bytes(Path(tiny_suite.experts["cars"]).read_bytes())
    suite = replace(tiny_suite, experts=tiny_suite.experts | {"mnist": source})
    with pytest.warns(UserWarning, match=r"experts of 'cars' and 'mnist' are the same weights"):
        suite.sources()
