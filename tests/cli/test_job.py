"""Which tasks a job is about, which experts it merges, and what it leaves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

from wemoe_pl.cli import main
from wemoe_pl.data.suite import Suite
from wemoe_pl.export.loading import load
from wemoe_pl.merging.folding import folds

Job = Callable[..., tuple[int, str]]
QUICK = ("--trainer.max_steps", "2", "--data.batch_size", "4", "--model.references", "false")


@pytest.fixture
def job(
    tiny_suite_yaml: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> Job:  # fmt: skip
    """`job("fit", "--tasks", …)`: the main job on the tiny suite; its status and errors."""
    monkeypatch.setattr("sys.argv", ["wemoe-pl"])

    def run(command: str, *options: str) -> tuple[int, str]:
        suite = ("--config", "adapt_miniature", "--suite", str(tiny_suite_yaml))
        bar = ("--trainer.enable_progress_bar", "false", "--trainer.deterministic", "false")
        status = main.main([command, *suite, *bar, "--out", str(tmp_path / "out"), *options])
        return status, capsys.readouterr().err

    return run


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def results(out: Path) -> dict[str, Any]:
    contents: dict[str, Any] = json.loads((out / "results.json").read_text())
    return contents


def test_unseen_tasks_are_scored_and_their_experts_left_out(job: Job, out: Path) -> None:
    assert job("fit", *QUICK, "--unseen", "[dtd]") == (0, "")
    left = results(out)
    assert left["experts"] == ["cars", "mnist"]
    assert set(left["accuracy"]) == {"cars", "dtd", "mnist"}
    assert "experts/dtd" not in left["sources"]
    assert set(left["unknown_task"]) == {"entropy", "routing"}
    rows = (out / "routing.csv").read_text().splitlines()
    assert len(rows) == 1 + 3 * 2 * 2  # tasks × blocks × experts


def test_a_job_can_be_about_some_tasks(job: Job, out: Path) -> None:
    assert job("fit", *QUICK, "--tasks", "[mnist,dtd]") == (0, "")
    left = results(out)
    assert left["tasks"] == ["mnist", "dtd"]
    assert set(left["experts"]) == {"mnist", "dtd"}
    assert set(left["sources"]) == {
        "pretrained", "experts/mnist", "experts/dtd", "heads/mnist", "heads/dtd",
    }  # fmt: skip
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert config["tasks"] == ["mnist", "dtd"]
    assert set(config["suite"]["tasks"]) == {"cars", "dtd", "mnist"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--tasks", "[mnits]"), "The suite 'tiny' has no task 'mnits'. Did you mean 'mnist'?"),
        (("--unseen", "[mnits]"), "'mnits' cannot be unseen: it is none of the tasks. Did you m"),
        (("--tasks", "[dtd]", "--unseen", "[mnist]"), "'mnist' cannot be unseen"),
        (("--data.corruption.kind", "spater"), "spater"),
        (("--model.reliable", "2"), "reliable is 2.0: give a number above 0, up to 1, or null."),
        (
            ("--model.merge.compression", "Prund"),
            "There is no class 'Prund'. Did you mean 'Pruned'",
        ),
        (("--model.merge.compression", "LowRank"), "takes either `rank` or `energy`"),
    ],
)
def test_what_is_not_there_is_named(
    options: tuple[str, ...], message: str, job: Job, out: Path
) -> None:
    status, err = job("fit", *QUICK, *options)
    assert status == 1
    [line] = err.splitlines()
    assert message in line
    assert not (out / "results.json").exists()


@pytest.mark.parametrize("adapt_on", ["corrupted", "clean"])
def test_corrupted_images_are_scored_and_adapted_on(adapt_on: str, job: Job, out: Path) -> None:
    kind = ("--data.corruption.kind", "gaussian_noise", "--data.corruption.severity", "5")
    assert job("fit", *QUICK, *kind, "--data.adapt_on", adapt_on) == (0, "")
    noisy = results(out)
    assert noisy["corruption"] == {
        "kind": "gaussian_noise", "severity": 5, "seed": 0, "source": "made",
        "published_pixelate": False,
    }  # fmt: skip
    assert job("fit", *QUICK, "--fresh") == (0, "")
    assert results(out)["corruption"] is None
    assert results(out)["calibration_error"] != noisy["calibration_error"]


@pytest.mark.parametrize("stream", ["test", "train"])
def test_a_few_images_are_adapted_on_and_all_scored(stream: str, job: Job, out: Path) -> None:
    few = (*QUICK, "--data.stream", stream, "--data.images_per_task", "3")
    assert job("fit", *few) == (0, "")
    left = results(out)
    assert left["stream"] == "Adapted on 3 images of every task."
    assert set(left["images"].values()) == {20}
    assert left["stream"] in (out / "summary.md").read_text()
    status, err = job("fit", *QUICK, "--data.stream", stream, "--data.images_per_task", "4")
    assert status == 1
    assert "data.init_args.images_per_task was 3 and is now 4" in err
    status, err = job("fit", *few, "--data.images_per_class", "2", "--fresh")
    assert (status, "give one of them." in err) == (1, True)


def test_labels_that_choose_images_are_told_of(
    job: Job, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert job("fit", *QUICK, "--data.images_per_class", "1") == (0, "")
    assert results(out)["stream"] in caplog.messages
    assert "1 images of every class, chosen by label; " in results(out)["stream"]


def test_a_stream_may_come_mixed_and_unannounced(job: Job, out: Path) -> None:
    weights = ("--data.proportions", "{cars: 5, dtd: 1}")
    assert job("fit", *QUICK, *weights, "--model.announced", "false") == (0, "")
    assert results(out)["stream"] == (
        "The tasks were mixed in every step by these weights: cars 5, dtd 1. No task was "
        "announced: the task of every image was inferred (by entropy)."
    )
    assert set(results(out)["accuracy"]) == {"cars", "dtd", "mnist"}
    _, err = job("fit", *QUICK, *weights)
    assert "model.init_args.announced was False and is now None" in err  # as it was left out
    status, err = job("fit", *QUICK, "--data.proportions", "{crs: 5}", "--fresh")
    assert (status, "Did you mean 'cars'?" in err) == (1, True)


def test_a_run_is_scored_on_images_that_it_has_not_seen(
    job: Job, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    assert job("fit", *QUICK) == (0, "")
    again, render = tmp_path / "again", ("--data.test_render", "{seed: 7, images: 30}")
    test = ["test", "--config", str(out / "config.yaml"), "--out", str(again), *render]
    assert main.main(test) == 0
    assert any("Using the checkpoint of this run" in message for message in caplog.messages)
    sentence = (
        "Scored on 30 images of every task, rendered from seed 7 and not used for adaptation."
    )
    assert sentence in " ".join(capsys.readouterr().out.split())
    assert sentence in (again / "summary.md").read_text()
    left = results(again)
    assert left["render"] == {"seed": 7, "images": 30}
    assert set(left["images"].values()) == {30}
    assert left["method"] == "WEMoE"
    assert left["run"]["images"].keys() == {f"fresh test images of '{t}'" for t in left["tasks"]}
    both = main.main(["report", str(out), str(again)])
    assert (both, capsys.readouterr().out.count("### tiny, 3 tasks")) == (0, 2)
    seen = ["test", "--config", str(out / "config.yaml"), "--data.test_render", "{seed: 0}"]
    assert main.main([*seen, "--out", str(tmp_path / "seen")]) == 1
    assert "test_render.seed is 0, the seed of the images that" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("merge", "plain"),
    [
        (("--model.merge", "AdaMerging"), True),
        (("--model.merge.router_depth", "0"), True),
        (("--model.merge", "EWEMoE", "--model.merge.router_depth", "0"), True),
        (("--model.merge", "EWEMoE"), False),
    ],
)
def test_what_folds_is_left_as_a_plain_encoder(
    merge: tuple[str, ...], plain: bool, job: Job, out: Path, tiny_suite: Suite
) -> None:
    assert job("fit", *QUICK, *merge) == (0, "")
    path = out / "encoder.safetensors"
    assert path.is_file() == plain
    model = load(out)
    assert not folds(model.encoder)
    if plain:
        left = load_file(path)
        assert left.keys() == tiny_suite.load_pretrained().state_dict().keys()
        for name, weight in model.encoder.state_dict().items():
            assert weight.equal(left[name])


def test_the_guard_says_what_it_did(job: Job, out: Path) -> None:
    restore = ("--guard.action", "restore", "--trainer.num_sanity_val_steps", "-1")
    assert job("fit", *QUICK, *restore, "--trainer.val_check_interval", "1") == (0, "")
    guard = results(out)["guard"]
    assert guard["action"] == "restore"
    assert guard["restored_step"] in (0, 1, 2)
    assert job("fit", *QUICK, "--fresh") == (0, "")
    assert results(out)["guard"] == {
        "action": "warn", "score": "information", "collapsed": {}, "restored_step": None
    }  # fmt: skip


def test_a_static_merge_of_some_experts_is_loaded_as_it_was_scored(job: Job, out: Path) -> None:
    assert job("test", "--model.merge", "TaskArithmetic", "--unseen", "[dtd]") == (0, "")
    model = load(out)
    assert set(model.tasks) == {"cars", "dtd", "mnist"}
    assert results(out)["sources"].keys() == {
        "pretrained", "experts/cars", "experts/mnist", "heads/cars", "heads/dtd", "heads/mnist",
    }  # fmt: skip


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (("--suite.pretrained",), "The checkpoint was trained with other pretrained: it was"),
        (("--model.merge.router_depth", "0"), "trained with another merge method: it was"),
    ],
)
def test_a_finished_run_is_not_extended_by_another_model_and_stays_whole(
    other: tuple[str, ...], named: str, job: Job, out: Path, tiny_suite: Suite
) -> None:
    assert job("fit", *QUICK) == (0, "")
    before = files_of(out)
    if other == ("--suite.pretrained",):
        other = (*other, tiny_suite.experts["cars"])
    more = (*QUICK, "--trainer.max_steps", "3", *other)
    status, err = job("fit", *more, "--ckpt_path", "last")
    assert status == 1
    assert named in err.splitlines()[-1]
    assert files_of(out) == before


def test_extending_is_proposed_where_nothing_but_the_steps_differs(job: Job, out: Path) -> None:
    assert job("fit", *QUICK) == (0, "")
    _, err = job("fit", *QUICK, "--trainer.max_steps", "3")
    assert "trainer.max_steps was 2 and is now 3" in err
    assert "or `--ckpt_path last` with more trainer.max_steps to extend it." in err
    other = ("--trainer.max_steps", "3", "--model.merge.router_depth", "1")
    _, err = job("fit", *QUICK, *other)
    assert "router_depth was 2 and is now 1" in err
    assert "--ckpt_path" not in err
