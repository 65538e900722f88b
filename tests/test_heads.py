"""Heads: a cosine, stored with its classes, or the mean direction of each class's images."""

import json
import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from wemoe_pl.checkpoints import save_tensors
from wemoe_pl.errors import CheckpointError
from wemoe_pl.heads import ClassificationHead, load_head, prototype_head, save_head
from wemoe_pl.miniature import CLASSES

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


# --- what it computes ------------------------------------------------------------------------


def test_logits_are_scaled_cosines() -> None:
    weight, features = random_x(C, D, seed=1), random_x(B, D, seed=2)
    logits = ClassificationHead(weight, NAMES, logit_scale=7.0)(features)
    assert logits.shape == (B, C)
    for b in range(B):
        for c in range(C):
            expected = 7.0 * cosine(features[b], weight[c])
            assert logits[b, c].item() == pytest.approx(expected, rel=1e-12)


def test_a_head_is_frozen() -> None:
    assert not any(
        p.requires_grad for p in ClassificationHead(random_x(C, D), NAMES, 10.0).parameters()
    )


@pytest.mark.parametrize("shape", [(2, D), (4, D), (C,), (C, D, 1)])
def test_a_head_has_one_vector_per_class_name(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        CheckpointError, match=r"a weight of shape \(.*\) was given with 3 class na"
    ):
        ClassificationHead(random_x(*shape), NAMES, 10.0)


# --- files -----------------------------------------------------------------------------------


def test_a_head_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    head = ClassificationHead(random_x(C, D).float(), NAMES, logit_scale=100 / 3)
    save_head(tmp_path / "head.safetensors", head, {"backbone": "tiny"})
    for source in (tmp_path, tmp_path / "head.safetensors"):
        loaded = load_head(str(source))
        assert torch.equal(loaded.weight, head.weight)
        assert loaded.classes == tuple(NAMES)
        assert loaded.logit_scale == 100 / 3


def test_a_half_precision_head_is_read_as_float32_with_equal_values(tmp_path: Path) -> None:
    head = ClassificationHead(random_x(C, D).float(), NAMES, 10.0)
    save_head(tmp_path / "head.safetensors", head, {}, torch.float16)
    weight = load_head(str(tmp_path)).weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, head.weight.half().float())


@pytest.mark.parametrize("task", CLASSES)
def test_the_heads_of_the_miniature_are_shipped_with_the_classes_of_its_images(task: str) -> None:
    assert load_head(f"shipped:miniature/heads/{task}.safetensors").classes == CLASSES[task]


@pytest.mark.parametrize(
    ("tensors", "metadata"),
    [
        ({"cls_token": random_x(1, 1, D)}, {}),
        ({"cls_token": random_x(1, 1, D)}, {"classes": json.dumps(NAMES), "logit_scale": "20"}),
        (
            {"weight": random_x(C, D), "bias": random_x(C)},
            {"classes": json.dumps(NAMES), "logit_scale": "20"},
        ),
        ({"weight": random_x(C, D)}, {"logit_scale": "20"}),
        ({"weight": random_x(C, D)}, {"classes": json.dumps(NAMES)}),
        ({"weight": random_x(C, D)}, {"classes": "cat, dog", "logit_scale": "20"}),
        ({"weight": random_x(C, D)}, {"classes": json.dumps(NAMES), "logit_scale": "high"}),
    ],
    ids=["encoder", "no weight", "bias", "no classes", "no scale", "no JSON", "no number"],
)
def test_a_file_that_is_no_head_is_refused_by_name(
    tensors: dict[str, Tensor], metadata: dict[str, str], tmp_path: Path
) -> None:
    save_tensors(tmp_path / "wrong.safetensors", tensors, metadata)
    with pytest.raises(CheckpointError, match=r"wrong\.safetensors is no classification head"):
        load_head(str(tmp_path / "wrong.safetensors"))


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
