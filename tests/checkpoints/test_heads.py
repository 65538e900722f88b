"""Heads: cosine and linear ones, in files of our own and of others; and those made of images."""

import json
import math
from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from wemoe_pl.checkpoints import open_weights, save_tensors
from wemoe_pl.checkpoints.heads import (
    HEAD_FILE,
    ClassificationHead,
    CosineHead,
    LinearHead,
    load_head,
    prototype_head,
    save_head,
    trainable,
)
from wemoe_pl.data.miniature import CLASSES
from wemoe_pl.data.tasks import PAPER_TASKS
from wemoe_pl.errors import CheckpointError

B, C, D = 4, 3, 5
NAMES = ["cat", "dog", "Märchen, “sea” cow"]


def random_x(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def cosine(a: Tensor, b: Tensor) -> float:
    """Written out, entry by entry."""
    dot = sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))
    norms = [math.sqrt(sum(x * x for x in v.tolist())) for v in (a, b)]
    return float(dot / (norms[0] * norms[1]))


# --- what they compute -----------------------------------------------------------------------


def test_logits_of_a_cosine_head_are_scaled_cosines() -> None:
    weight, features = random_x(C, D, seed=1), random_x(B, D, seed=2)
    logits = CosineHead(weight, NAMES, logit_scale=7.0)(features)
    assert logits.shape == (B, C)
    for b in range(B):
        for c in range(C):
            expected = 7.0 * cosine(features[b], weight[c])
            assert logits[b, c].item() == pytest.approx(expected, rel=1e-12)


def test_logits_of_a_linear_head_are_products_and_a_bias() -> None:
    weight, bias, features = random_x(C, D, seed=1), random_x(C, seed=3), random_x(B, D, seed=2)
    logits = LinearHead(weight, NAMES, bias)(features)
    assert logits.shape == (B, C)
    for b in range(B):
        for c in range(C):
            products = zip(features[b].tolist(), weight[c].tolist(), strict=True)
            expected = sum(x * w for x, w in products) + bias[c].item()
            assert logits[b, c].item() == pytest.approx(expected, rel=1e-12)


HEADS: list[ClassificationHead] = [
    CosineHead(random_x(C, D).float(), NAMES, logit_scale=100 / 3),
    LinearHead(random_x(C, D).float(), NAMES, random_x(C, seed=3).float()),
]
KINDS = pytest.mark.parametrize("head", HEADS, ids=lambda head: type(head).__name__)


@KINDS
def test_a_head_is_frozen(head: ClassificationHead) -> None:
    assert list(head.parameters())
    assert not any(p.requires_grad for p in head.parameters())


@pytest.mark.parametrize("shape", [(2, D), (4, D), (C,), (C, D, 1)])
def test_a_head_has_one_vector_per_class_name(shape: tuple[int, ...]) -> None:
    complaint = r"a weight of shape \(.*\) was given with 3 class names"
    with pytest.raises(CheckpointError, match=complaint):
        CosineHead(random_x(*shape), NAMES, 10.0)
    with pytest.raises(CheckpointError, match=complaint):
        LinearHead(random_x(*shape), NAMES, random_x(C))


# --- files of our own ------------------------------------------------------------------------


def no_names() -> tuple[str, ...]:
    raise AssertionError("the file names its classes: the task must not be asked")


@KINDS
def test_a_head_comes_back_as_it_was_saved(head: ClassificationHead, tmp_path: Path) -> None:
    save_head(tmp_path / HEAD_FILE, head, {"backbone": "tiny"})
    for source in (tmp_path, tmp_path / HEAD_FILE):
        loaded = load_head(str(source), no_names)
        assert type(loaded) is type(head)
        assert loaded.classes == tuple(NAMES)
        assert loaded.state_dict().keys() == head.state_dict().keys()
        for key, tensor in head.state_dict().items():
            assert torch.equal(loaded.state_dict()[key], tensor)
        features = random_x(B, D, seed=5).float()
        assert torch.equal(loaded(features), head(features))  # the logit scale, too


@KINDS
def test_what_else_is_known_of_a_head_is_kept_beside_its_classes(
    head: ClassificationHead, tmp_path: Path
) -> None:
    save_head(tmp_path / HEAD_FILE, head, {"backbone": "tiny"})
    metadata = open_weights(str(tmp_path), HEAD_FILE).metadata
    assert metadata["backbone"] == "tiny"
    assert json.loads(metadata["classes"]) == NAMES


@KINDS
def test_a_half_precision_head_is_read_as_float32_with_equal_values(
    head: ClassificationHead, tmp_path: Path
) -> None:
    save_head(tmp_path / HEAD_FILE, head, {}, torch.float16)
    for key, tensor in load_head(str(tmp_path)).state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, head.state_dict()[key].half().float())


@pytest.mark.parametrize(
    ("suite", "task"),
    [*(("miniature", task) for task in PAPER_TASKS), *(("miniature20", task) for task in CLASSES)],
)
def test_the_heads_of_a_miniature_are_shipped_with_the_classes_of_its_images(
    suite: str, task: str
) -> None:
    head = load_head(f"shipped:{suite}/heads/{task}.safetensors")
    assert isinstance(head, CosineHead)
    assert head.classes == CLASSES[task]


# --- files of others -------------------------------------------------------------------------


def tensors_file(folder: Path, tensors: dict[str, Tensor], **metadata: str) -> str:
    save_tensors(folder / "theirs.safetensors", tensors, metadata)
    return str(folder / "theirs.safetensors")


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_the_last_layer_of_a_timm_classifier_is_a_linear_head_with_the_names_of_the_task(
    suffix: str, tiny_vit: Callable[..., nn.Module], tmp_path: Path
) -> None:
    classifier = tiny_vit(seed=3, num_classes=C)
    path = tmp_path / f"classifier.{suffix}"
    if suffix == "pth":
        torch.save(classifier.state_dict(), path)
    else:
        save_tensors(path, classifier.state_dict(), {"format": "pt"})
    head = load_head(str(path), lambda: NAMES)
    assert isinstance(head, LinearHead)
    assert head.classes == tuple(NAMES)
    images = random_x(B, 3, 32, 32).float()
    expected, encoder = classifier(images), deepcopy(classifier)
    encoder.head = nn.Identity()
    torch.testing.assert_close(head(encoder(images)), expected)
    assert not any(p.requires_grad for p in head.parameters())


def test_a_last_layer_without_a_bias_is_a_head_with_none(tmp_path: Path) -> None:
    weight = random_x(C, D).float()
    head = load_head(tensors_file(tmp_path, {"head.weight": weight}), lambda: NAMES)
    features = random_x(B, D, seed=5).float()
    torch.testing.assert_close(head(features), features @ weight.T)


def test_a_cosine_head_without_class_names_gets_those_of_the_task(tmp_path: Path) -> None:
    source = tensors_file(tmp_path, {"weight": random_x(C, D)}, logit_scale="20")
    head = load_head(source, lambda: NAMES)
    assert isinstance(head, CosineHead)
    assert head.logit_scale == 20.0
    assert head.classes == tuple(NAMES)


def test_a_head_whose_classes_nobody_names_says_where_to_give_them(tmp_path: Path) -> None:
    source = tensors_file(tmp_path, {"head.weight": random_x(C, D), "head.bias": random_x(C)})
    complaint = r"theirs\.safetensors does not name its 3 classes: give .* task's `class_names`\."
    with pytest.raises(CheckpointError, match=complaint):
        load_head(source)


@pytest.mark.parametrize("count", [2, 4])
def test_a_head_of_another_number_of_classes_than_the_task_is_refused(
    count: int, tmp_path: Path
) -> None:
    source = tensors_file(tmp_path, {"head.weight": random_x(C, D), "head.bias": random_x(C)})
    complaint = rf"theirs\.safetensors has 3 classes, but its images have {count}: use a head"
    with pytest.raises(CheckpointError, match=complaint):
        load_head(source, lambda: [f"class {i}" for i in range(count)])


@pytest.mark.parametrize(
    ("classes", "logit_scale"),
    [
        ("cat, dog", "20"),
        ("3", "20"),
        ("null", "20"),
        ('"cat"', "20"),
        ('["cat", "dog", 3]', "20"),
        (json.dumps(NAMES), "high"),
        (json.dumps(NAMES), ""),
        (json.dumps(NAMES), "nan"),
        (json.dumps(NAMES), "inf"),
    ],
)
def test_damaged_metadata_is_refused_by_name(
    classes: str, logit_scale: str, tmp_path: Path
) -> None:
    source = tensors_file(
        tmp_path, {"weight": random_x(C, D)}, classes=classes, logit_scale=logit_scale
    )
    with pytest.raises(CheckpointError, match=r"metadata of .*theirs\.safetensors is damaged"):
        load_head(source, lambda: NAMES)


@pytest.mark.parametrize("bias", [random_x(C + 1), random_x(C, 1)], ids=["longer", "matrix"])
def test_a_linear_head_has_one_bias_per_class(bias: Tensor, tmp_path: Path) -> None:
    source = tensors_file(tmp_path, {"head.weight": random_x(C, D), "head.bias": bias})
    with pytest.raises(
        CheckpointError, match=r"one bias per class, but biases of .* for 3 classes"
    ):
        load_head(source, lambda: NAMES)


@pytest.mark.parametrize("prefix", ["module.", "model.", "net._orig_mod."])
def test_a_linear_head_is_found_behind_a_prefix(prefix: str, tmp_path: Path) -> None:
    weight, bias = random_x(C, D).float(), random_x(C).float()
    beside = {f"{prefix}blocks.0.norm1.weight": random_x(D), f"{prefix}norm.bias": random_x(D)}
    own = {f"{prefix}head.weight": weight, f"{prefix}head.bias": bias}
    head = load_head(tensors_file(tmp_path, own | beside), lambda: NAMES)
    assert torch.equal(head.weight, weight)
    assert isinstance(head, LinearHead)
    assert torch.equal(head.bias, bias)


@pytest.mark.parametrize(
    "tensors",
    [
        {"cls_token": random_x(1, 1, D)},
        {"a.head.weight": random_x(C, D), "b.head.weight": random_x(C, D)},
        {"weight": random_x(C)},
        {"head.weight": random_x(C, D, 1, 1), "head.bias": random_x(C)},
        {"bias": random_x(C)},
    ],
    ids=["encoder", "two heads", "vector", "convolution", "bias alone"],
)
def test_a_file_that_is_no_head_is_refused_by_name(
    tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    source = tensors_file(tmp_path, tensors, classes=json.dumps(NAMES), logit_scale="20")
    with pytest.raises(CheckpointError, match=r"theirs\.safetensors is not a classification head"):
        load_head(source, lambda: NAMES)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no file .*nothing\.safetensors"):
        load_head(str(tmp_path / "nothing.safetensors"))


# --- heads from images -----------------------------------------------------------------------


@pytest.fixture
def images() -> Tensor:
    return random_x(12, 3, 2, 2, seed=3)


@pytest.fixture
def labels() -> Tensor:
    """Classes of different sizes, in no order."""
    return torch.tensor([2, 0, 1, 1, 2, 2, 0, 1, 2, 2, 2, 0])


@pytest.fixture
def encoder() -> nn.Module:
    linear = nn.Linear(12, D).double()
    for seed, weight in enumerate(linear.parameters()):
        weight.data = random_x(*weight.shape, seed=seed)
    return nn.Sequential(nn.Flatten(), linear)


def test_class_vectors_are_the_mean_directions_of_features(
    encoder: nn.Module, images: Tensor, labels: Tensor
) -> None:
    head = prototype_head(encoder, [(images, labels)], NAMES, logit_scale=9.0)
    for c in range(C):
        mean = torch.zeros(D, dtype=torch.float64)
        for image, label in zip(images, labels.tolist(), strict=True):
            feature = encoder(image[None])[0].detach()
            if label == c:
                mean += feature / feature.square().sum().sqrt()
        torch.testing.assert_close(head.weight[c].data, mean / mean.square().sum().sqrt())
    assert head.classes == tuple(NAMES)
    assert head.logit_scale == 9.0


@pytest.mark.parametrize("cuts", [[0, 1, 2, 12], [0, 5, 10, 12], list(range(13))], ids=str)
def test_class_vectors_do_not_depend_on_the_batch_size(
    cuts: list[int], encoder: nn.Module, images: Tensor, labels: Tensor
) -> None:
    batches = ((images[a:b], labels[a:b]) for a, b in pairwise(cuts))
    whole = prototype_head(encoder, [(images, labels)], NAMES)
    torch.testing.assert_close(prototype_head(encoder, batches, NAMES).weight, whole.weight)


def test_a_class_without_images_is_named(
    encoder: nn.Module, images: Tensor, labels: Tensor
) -> None:
    seen = labels != 1
    with pytest.raises(CheckpointError, match=r"class 'dog' has no images; give at least one"):
        prototype_head(encoder, [(images[seen], labels[seen])], NAMES)


def test_a_head_without_any_image_is_refused(encoder: nn.Module) -> None:
    with pytest.raises(CheckpointError, match="cannot be built without images"):
        prototype_head(encoder, [], NAMES)


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_logits_are_in_single_precision_under_autocast(kind: str) -> None:
    weight = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    names = ["a", "b", "c", "d"]
    cosine, linear = CosineHead(weight, names, 100.0), LinearHead(weight, names, torch.zeros(4))
    head: nn.Module = cosine if kind == "cosine" else linear
    features = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        logits = head(features.bfloat16())
    assert logits.dtype == torch.float32
    assert torch.equal(logits, head(features.bfloat16().float()))


def test_a_head_names_all_its_classes(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"^A head has an empty name for class 1: give every"):
        LinearHead(torch.eye(2), ["cat", " "], torch.zeros(2))
    file = tmp_path / "head.safetensors"
    save_tensors(file, {"weight": torch.eye(2)}, {"classes": json.dumps(["", "dog"])})
    with pytest.raises(
        CheckpointError, match=r"The head in .*head.* has an empty name for class 0"
    ):
        load_head(str(file))


# --- heads that are trained --------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
@pytest.mark.parametrize("normalize", [None, False, True])
def test_a_trainable_head_answers_as_the_one_that_it_is_a_copy_of(
    normalize: bool | None, dtype: torch.dtype
) -> None:
    weight, bias, features = random_x(C, D, seed=1), random_x(C, seed=3), random_x(B, D, seed=2)
    weight, bias = weight.to(dtype), bias.to(dtype)
    features = features.to(torch.promote_types(dtype, torch.float32))
    head: ClassificationHead = CosineHead(weight, NAMES, logit_scale=7.0)
    if normalize is not None:
        head = LinearHead(weight, NAMES, bias, normalize)
    copy = trainable(head)
    precise = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(copy(features), head(features), rtol=precise, atol=precise)
    assert all(p.requires_grad and p.dtype != torch.float16 for p in copy.parameters())
    assert [name for name, _ in copy.named_parameters()] == ["weight", "bias"]
    before = {name: values.clone() for name, values in head.state_dict().items()}
    with torch.no_grad():
        for values in copy.parameters():
            values.add_(1)
    for name, values in head.state_dict().items():
        assert values.equal(before[name])
    assert not any(p.requires_grad for p in head.parameters())


def test_a_head_of_normalised_features_is_read_as_it_was_written(tmp_path: Path) -> None:
    weight, features = random_x(C, D, seed=1), random_x(B, D, seed=2)
    head = LinearHead(weight, NAMES, random_x(C, seed=3), normalize=True)
    for b, row in enumerate(features):
        for c in range(C):
            expected = float(row @ weight[c]) / math.sqrt(float(row @ row)) + head.bias[c].item()
            assert head(features)[b, c].item() == pytest.approx(expected, rel=1e-12)
    save_head(tmp_path / "head.safetensors", head, {})
    read = load_head(str(tmp_path / "head.safetensors"))
    assert isinstance(read, LinearHead)
    assert read.normalize
    torch.testing.assert_close(read(features.float()), head(features).float())


def test_a_head_that_does_not_say_whether_it_normalises_is_refused(tmp_path: Path) -> None:
    state = LinearHead(random_x(C, D), NAMES, random_x(C)).state_dict()
    metadata = {"classes": json.dumps(NAMES), "normalize": "1"}
    save_tensors(tmp_path / "head.safetensors", state, metadata)
    with pytest.raises(CheckpointError, match=r"damaged: .* or 'normalize' as true or false\.$"):
        load_head(str(tmp_path / "head.safetensors"))
