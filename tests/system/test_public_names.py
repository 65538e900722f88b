"""Classes have one name in files, and what was written under older names goes on being read."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import lightning as L
import pytest
import torch
import yaml
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import Strategy

import wemoe_pl
from wemoe_pl.cli.main import main
from wemoe_pl.data.tasks import VisionTask
from wemoe_pl.data.vision_data import VisionData
from wemoe_pl.export.loading import load, open_model
from wemoe_pl.export.timm_folder import timm_features
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.model.recipe import describe, rebuild
from wemoe_pl.moe.compression import Compression
from wemoe_pl.reporting import finishing
from wemoe_pl.runs.checkpoint import frozen_choices, read_checkpoint
from wemoe_pl.runs.settings import comparable, difference, digest_of
from wemoe_pl.system.public_names import PLACE, public_name, short, with_public_names
from wemoe_pl.training.module import MultiTaskModule

KEPT = Path(__file__).parents[1] / "kept" / "dotted_names"
CHOSEN = (
    MergeMethod, VisionTask, Compression, MultiTaskModule, VisionData, L.Callback, Logger, Strategy,
)  # fmt: skip
# What jobs always have, and no config chooses by its class.
OF_EVERY_JOB = {
    "CollapseGuard", "Curves", "Dashboard", "EndTogether", "IdentityRecord", "LastCheckpoint",
    "Predictions", "Requeue", "SaveConfig", "Scoring", "StageClock", "TrainedParameters",
    "SampleImages", "ProgressLines", "ValidationSchedule",
}  # fmt: skip
# The bases, which are never built.
ABSTRACT = {
    "MatrixMethod", "MergedModule", "PerTaskMethod", "SampleMethod", "SupervisedTraining",
    "TensorMethod", "Wrapper",
}  # fmt: skip


def places(folder: Path) -> set[str]:
    """Every place in the package that files name, as text or within a checkpoint."""
    texts = [p.read_text() for p in folder.rglob("*") if p.suffix in (".yaml", ".json")]
    texts += [json.dumps(read_checkpoint(p)["wemoe_pl"]) for p in folder.rglob("*.ckpt")]
    return {found[0] for text in texts for found in PLACE.finditer(text)}


def former(folder: Path) -> set[str]:
    """The places that are there and are not public names."""
    return {place for place in places(folder) if short(place) != place}


@pytest.fixture(scope="module")
def every_module() -> None:
    """All of the package is imported, whatever other tests have imported before."""
    for module in walk_packages(wemoe_pl.__path__, "wemoe_pl."):
        if module.name != "wemoe_pl.__main__":
            import_module(module.name)


def below(base: type) -> Iterator[type]:
    """The classes of this package that are of a kind, as far as they were imported."""
    children: list[type] = base.__subclasses__()
    for child in children:
        yield from below(child)
        if child.__module__.startswith("wemoe_pl."):
            yield child


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which everything from before lies, as if somebody had cloned it."""
    shutil.copytree(KEPT, tmp_path / "kept")
    monkeypatch.chdir(tmp_path / "kept")
    monkeypatch.setattr(finishing, "write_figures", lambda *_: [])
    return tmp_path / "kept"


# --- names -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("every_module")
@pytest.mark.parametrize("base", CHOSEN)
def test_every_class_that_a_config_chooses_has_a_public_name(base: type) -> None:
    named = {kind.__name__: kind for kind in below(base)}
    assert named, base
    for name in named.keys() - OF_EVERY_JOB - ABSTRACT:
        assert public_name(named[name]) == f"wemoe_pl.{name}"
        assert getattr(wemoe_pl, name) is named[name]


def test_every_public_name_is_that_of_one_thing() -> None:
    for name in wemoe_pl.__all__:
        kind = getattr(wemoe_pl, name)
        assert kind.__name__ == name
        assert short(f"{kind.__module__}.{name}") == f"wemoe_pl.{name}"


def test_every_place_that_was_ever_written_down_is_that_of_a_class() -> None:
    found = places(KEPT)
    assert {"wemoe_pl.merging.wemoe.EWEMoE", "wemoe_pl.report.StepProgressBar"} <= found
    for place in found:
        name = short(place).removeprefix("wemoe_pl.")
        assert name in wemoe_pl.__all__, place
        assert isinstance(getattr(wemoe_pl, name), type)


@pytest.mark.parametrize(
    "text",
    [
        *("my_package.WEMoE", "wemoe_pl_extras.WEMoE", "wemoe_pl.merging.Mine", "WEMoE", ""),
        *("wemoe_pl.merging.wemoe.WEMoE.merge", "runs/wemoe_pl.merging.WEMoE", "wemoe_pl"),
    ],
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert short(text) == text
    assert with_public_names({text: [text, 1, None]}) == {text: [text, 1, None]}


def test_a_class_of_a_users_own_keeps_its_place_and_its_difference() -> None:
    assert public_name(type("WEMoE", (), {"__module__": "mine"})) == "mine.WEMoE"
    ours, theirs = ({"merge": {"class_path": f"{of}.WEMoE"}} for of in ("wemoe_pl", "mine"))
    assert frozen_choices(ours) != frozen_choices(theirs)


def test_a_config_is_the_same_wherever_in_the_package_its_classes_were(tmp_path: Path) -> None:
    was, now, mine = (
        {"model": {"merge": {"class_path": f"{of}.WEMoE"}}}
        for of in ("wemoe_pl.merging.wemoe", "wemoe_pl", "mine")
    )
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(was))
    assert difference(tmp_path / "config.yaml", now) == ""
    assert digest_of(was) == digest_of(now) != digest_of(mine)
    changed = "model.merge.class_path was wemoe_pl.WEMoE and is now mine.WEMoE"
    assert difference(tmp_path / "config.yaml", mine) == changed


# --- what was written before -----------------------------------------------------------------


def images() -> torch.Tensor:
    return torch.randn(3, 3, 14, 14, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("source", ["fitted", "fitted/checkpoints/last.ckpt", "adapter", "bundle"])
def test_a_run_and_its_exports_from_before_give_the_same_answers(kept: Path, source: str) -> None:
    model, whole = load(kept / source), load(kept / "bundle")
    assert model.tasks == ("folder", "parquet", "mnist", "drawn")
    for task in model.tasks:
        assert model(images(), task).equal(whole(images(), task))


def test_a_timm_folder_from_before_gives_the_features_of_its_run(kept: Path) -> None:
    features = load(kept / "fitted").encode(images())
    torch.testing.assert_close(timm_features(kept / "timm", images()), features)


def test_a_static_run_from_before_is_loaded(kept: Path) -> None:
    subject = open_model(kept / "static")
    assert type(subject.merge) is wemoe_pl.TaskArithmetic
    assert [type(task) for task in subject.suite.tasks.values()] == [
        wemoe_pl.ImageFolderTask,
        wemoe_pl.ParquetTask,
        wemoe_pl.PaperTask,
        wemoe_pl.MiniatureTask,
    ]


@pytest.mark.parametrize("name", ["fitted", "static"])
def test_a_run_from_before_is_scored_again_with_the_same_figures(kept: Path, name: str) -> None:
    own = ["--ckpt_path=fitted/checkpoints/last.ckpt"] if name == "fitted" else []
    assert main(["test", f"--config={name}/config.yaml", *own, "--out=again"]) == 0
    then, now = (json.loads((kept / n / "results.json").read_text()) for n in (name, "again"))
    assert now["accuracy"] == then["accuracy"]
    assert comparable(now["merge"]) == comparable(then["merge"])
    assert not former(kept / "again")


def test_an_interrupted_run_from_before_is_gone_on_with(kept: Path) -> None:
    assert main(["fit", "--config=interrupted/config.yaml"]) == 0
    assert read_checkpoint(kept / "interrupted/checkpoints/last.ckpt")["global_step"] == 6
    assert not former(kept / "interrupted")


def test_a_checkpoint_from_before_begins_another_run(kept: Path) -> None:
    checkpoint = "interrupted/checkpoints/last.ckpt"
    config = "--config=interrupted/config.yaml"
    assert main(["fit", config, f"--ckpt_path={checkpoint}", "--out=other"]) == 0
    assert read_checkpoint(kept / "other/checkpoints/last.ckpt")["global_step"] == 6


def test_another_merge_method_is_refused_as_ever(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = "--ckpt_path=fitted/checkpoints/last.ckpt"
    changed = "--model.merge.init_lambda=0.1"
    assert main(["test", "--config=fitted/config.yaml", own, changed, "--out=again"]) == 1
    assert "trained with another merge method" in capsys.readouterr().err


def printed(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    """The resolved config of a command."""
    with pytest.raises(SystemExit) as leaving:
        main([*args, "--print_config"])
    assert leaving.value.code == 0
    settings: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return settings


CONFIGS = [str(path.relative_to(KEPT)) for path in sorted(KEPT.glob("*/*.yaml"))]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_from_before_says_what_it_said(
    kept: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = "test" if name.startswith("static") else "fit"
    said = printed(capsys, command, f"--config={name}")
    assert difference(kept / name, said) == ""
    assert said == with_public_names(said)


MOVED: dict[str, Callable[[str], str]] = {
    "as it was written": lambda text: text,
    "by files that are gone": lambda text: re.sub(
        r"wemoe_pl\.(\w+\.)*(?=\w)", "wemoe_pl.gone.", text
    ),
}


@pytest.mark.parametrize("spelling", MOVED)
def test_a_recipe_is_rebuilt_wherever_its_classes_were(kept: Path, spelling: str) -> None:
    manifest = (kept / "adapter/wemoe_pl.json").read_text()
    recipe: dict[str, Any] = json.loads(manifest)["recipe"]
    spelled = json.loads(MOVED[spelling](json.dumps(recipe)))
    assert rebuild(spelled) == rebuild(with_public_names(recipe))
    assert frozen_choices(spelled) == frozen_choices(with_public_names(recipe))
    suite, merge = rebuild(spelled)
    described = {"suite": describe(suite), "merge": describe(merge)}
    assert comparable(described) == comparable(recipe)


@pytest.mark.parametrize(
    "given",
    [
        ["--model.merge=wemoe_pl.gone.TIES"],
        ["--model.merge", "wemoe_pl.gone.TIES"],
        ["--model.merge.class_path=wemoe_pl.gone.TIES"],
        ["--model.merge={class_path: wemoe_pl.gone.TIES}"],
        ["--config=gone.yaml"],
    ],
    ids=lambda given: given[0],
)
def test_a_place_that_is_gone_is_understood_wherever_it_is_given(
    kept: Path, given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (kept / "gone.yaml").write_text("model: {init_args: {merge: wemoe_pl.gone.TIES}}")
    said = printed(capsys, "test", "--config=static/config.yaml", *given)
    assert said["model"]["init_args"]["merge"]["class_path"] == "wemoe_pl.TIES"
