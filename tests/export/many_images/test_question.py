"""What answers depend on is compared part by part, and the difference is told."""

from pathlib import Path

import pytest
import torch

from wemoe_pl.data.suite import Suite
from wemoe_pl.export.bundle import BUNDLE_FILE
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.loading import open_model
from wemoe_pl.export.many_images.question import (
    RecordedModel,
    asked_question,
    difference_between,
    load_recorded,
    question_hash,
    weights_hash,
)
from wemoe_pl.export.writing import export
from wemoe_pl.merging.wemoe import WEMoE


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"task": "dtd"}, "--task dtd and not inferred tasks"),
        ({"batch_size": 3}, "--batch-size 3 and not 64"),
        ({"images": ["a", "b"]}, "the images a b and not photos"),
        ({"weights": "0"}, "another model"),
        ({"tasks": {}}, "a model of other tasks, classes or thresholds"),
        ({"reader": "2"}, "another reading of images, such as by another version of Pillow"),
        ({"folder": "/elsewhere"}, "paths as seen from /elsewhere and not from "),
        ({}, ""),
    ],
)
def test_the_first_difference_is_told(
    changed: dict[str, object], words: str, recorded: RecordedModel
) -> None:
    now = asked_question(recorded.classifier, ["photos"], None, 64)
    assert difference_between(now | changed, now).startswith(words)
    assert (question_hash(now | changed) == question_hash(now)) is (words == "")


def test_only_relative_paths_depend_on_the_folder(
    recorded: RecordedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(source: str) -> dict[str, object]:
        return asked_question(recorded.classifier, [source], None, 64)

    before = asked("photos"), asked("/photos")
    monkeypatch.chdir(tmp_path)
    assert asked("photos") != before[0]
    assert asked("/photos") == before[1]


def test_every_weight_counts(tiny_suite: Suite) -> None:
    model = ExportedModel.assemble(tiny_suite, WEMoE(), {}, is_adapted=False).classifier
    before = weights_hash(model)
    assert weights_hash(model) == before
    weight = list(model.parameters())[-1]
    with torch.no_grad():
        weight.view(-1)[-1] += 1e-6
    assert weights_hash(model) != before


def test_a_checkpoint_and_its_bundle_name_the_same_sources(
    checkpoint: Path, tmp_path: Path
) -> None:
    run = load_recorded(str(checkpoint))
    export(open_model(checkpoint), "bundle", tmp_path / "bundle")
    bundle = load_recorded(str(tmp_path / "bundle" / BUNDLE_FILE))
    assert run.sources == bundle.sources
    assert set(run.sources) >= {"pretrained", "experts/mnist", "heads/dtd"}
    assert bundle.source.endswith(BUNDLE_FILE)
