"""A suite holds together: its tasks, experts and heads belong to each other and to one backbone."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from wemoe_pl.checkpoints import ENCODER_FILE, read_tensors, save_tensors
from wemoe_pl.errors import CheckpointError, ConfigError
from wemoe_pl.files import sha256
from wemoe_pl.heads import HEAD_FILE, ClassificationHead, save_head
from wemoe_pl.miniature import CLASSES, MiniatureTask
from wemoe_pl.suites import Suite
from wemoe_pl.tasks import ImageFolderTask


def assert_weights(encoder: nn.Module, source: str) -> None:
    expected, _ = read_tensors(Path(source))
    torch.testing.assert_close(dict(encoder.state_dict()), expected, rtol=0, atol=0)


def test_encoders_are_read_from_the_files_of_the_suite(tiny_suite: Suite) -> None:
    assert_weights(tiny_suite.load_pretrained(), tiny_suite.pretrained)
    experts = tiny_suite.load_experts()
    assert list(experts) == list(tiny_suite.experts)
    for task, expert in experts.items():
        assert_weights(expert, tiny_suite.experts[task])


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
    "name", ["", "vit.cars", "a/b", "two words", "-v", "_x", "straße", "keys", "type", "training"]
)
def test_a_name_that_pytorch_or_a_shell_refuses_is_refused(name: str, tiny_suite: Suite) -> None:
    with pytest.raises(ConfigError, match=rf"^'{name}' cannot be the name of a task: use letters"):
        replace(tiny_suite, tasks={name: MiniatureTask("dtd")}, experts={}, heads={})


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


# --- heads -----------------------------------------------------------------------------------


def suite_with_head(suite: Suite, path: Path, classes: tuple[str, ...], width: int = 16) -> Suite:
    """The suite, with another head for DTD."""
    save_head(
        path / HEAD_FILE, ClassificationHead(torch.ones(len(classes), width), classes, 10.0), {}
    )
    return replace(suite, heads=suite.heads | {"dtd": str(path)})


def test_a_head_of_the_same_classes_is_read(tiny_suite: Suite, tmp_path: Path) -> None:
    head = suite_with_head(tiny_suite, tmp_path, CLASSES["dtd"]).load_head("dtd")
    assert torch.equal(head.weight, torch.ones(len(CLASSES["dtd"]), 16))


def test_a_task_without_a_head_says_how_to_add_one(tiny_suite: Suite) -> None:
    with pytest.raises(ConfigError, match=r"no head for 'dtd': add `heads: {dtd: FILE}`"):
        replace(tiny_suite, heads={}).load_head("dtd")


def test_classes_in_another_order_are_refused_with_the_first_that_differs(
    tiny_suite: Suite, tmp_path: Path
) -> None:
    zero, one, two, *rest = CLASSES["dtd"]
    suite = suite_with_head(tiny_suite, tmp_path, (zero, two, one, *rest))
    complaint = rf"head of 'dtd' names class 1 '{two}', but its images name it '{one}': put the"
    with pytest.raises(CheckpointError, match=complaint):
        suite.load_head("dtd")


@pytest.mark.parametrize("extra", [-1, 1])
def test_another_number_of_classes_is_refused_with_both(
    extra: int, tiny_suite: Suite, tmp_path: Path
) -> None:
    ours = CLASSES["dtd"][:-1] if extra < 0 else (*CLASSES["dtd"], "marbled")
    suite = suite_with_head(tiny_suite, tmp_path, ours)
    complaint = rf"head of 'dtd' has {len(ours)} classes, but its images have {len(CLASSES['dtd'])}"
    with pytest.raises(CheckpointError, match=complaint):
        suite.load_head("dtd")


def test_the_classes_of_a_folder_of_images_are_compared_too(
    tiny_suite: Suite, tmp_path: Path
) -> None:
    task = ImageFolderTask(class_names=("woven", *CLASSES["dtd"][1:]))
    suite = replace(tiny_suite, tasks=tiny_suite.tasks | {"dtd": task})
    with pytest.raises(CheckpointError, match=r"head of 'dtd' names class 0 .* name it 'woven'"):
        suite.load_head("dtd")


def test_a_head_for_other_features_is_refused_with_both_widths(
    tiny_suite: Suite, tmp_path: Path
) -> None:
    suite = suite_with_head(tiny_suite, tmp_path, CLASSES["dtd"], width=512)
    with pytest.raises(CheckpointError, match=r"for 512 features, but 'vit_tiny_.*' has 16: use"):
        suite.load_head("dtd")


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
