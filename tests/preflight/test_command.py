"""`wemoe-pl check`, through the console script's own function."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.loopback_hub import LoopbackHub

from wemoe_pl.checkpoints.zero_shot import ZeroShotHead
from wemoe_pl.cli.main import main
from wemoe_pl.merging import expert_check

Check = Callable[..., tuple[int, str, str]]
Change = Callable[..., None]
STARTS = "Nothing keeps this job from starting"


@pytest.fixture(autouse=True)
def experts_are_near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the suite are random, and nobody is to be told so in every test."""
    monkeypatch.setattr(expert_check, "FAR", 2.0)


def listed(out: str, title: str) -> list[str]:
    """The sentences below a title, each on one line."""
    _, _, below = out.partition(f"\n{title}\n")
    lines = re.split(r"\n  - ", "\n" + below.partition("\n\n")[0])[1:]
    return [" ".join(line.split()) for line in lines]


def files(folder: Path) -> dict[str, int]:
    """Everything in a folder, with the time of its last change."""
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def test_a_job_that_would_start_is_told_part_by_part(check: Check, folder: Path) -> None:
    before = files(folder)
    status, out, err = check()
    assert (status, err) == (0, "")
    assert files(folder) == before  # nothing was written
    assert max(map(len, out.splitlines())) <= 80
    titles = [line for line in out.splitlines() if line and not line.startswith(" ")]
    assert titles == [
        "Job",
        "Encoders",
        "folder: ImageFolderTask",
        "parquet: ParquetTask",
        "mnist: PaperTask",
        "drawn: MiniatureTask",
        "Memory, estimated for each device",
        f"{STARTS}, and there is nothing to warn of.",
    ]
    rows = [line.split() for line in out.splitlines()]
    assert ["0", "cat", "2", "images/folder/cat/0.png"] in rows
    assert ["1", "dog", "2", "images/folder/dog/0.png"] in rows
    assert ["what", "is", "there", "nothing", "yet"] in rows
    assert "as configured: the weights do not show how many there are" in " ".join(out.split())


def test_all_that_is_wrong_is_listed_at_once(check: Check, change: Change, folder: Path) -> None:
    change("experts", mnist="mnits.safetensors")
    change("heads", drawn="head_folder.safetensors")
    change("tasks", folder={"class_names": ["dog", "cat"]}, parquet={"test": "none-*"})
    (folder / "images/mnist/test/3/0.png").write_text("no image")
    (folder / "images/folder/cat/notes.txt").write_text("of mine")
    status, out, err = check("--task=mnist", "--trainer.max_steps=0", "--trainer.devices=3")
    assert (status, err) == (1, "wemoe-pl: 8 problems keep this job from starting.\n")
    assert [problem.split(" ")[:4] for problem in listed(out, "Problems")] == [
        ["config:", "--task", "has", "no"],
        ["config:", "Give", "the", "number"],
        ["config:", "data.batch_size", "16", "does"],
        ["expert", "of", "mnist:", "There"],
        ["parquet:", "images/parquet", "has", "no"],
        ["mnist:", "1", "of", "20"],
        ["head", "of", "folder:", "The"],
        ["head", "of", "drawn:", "The"],
    ]
    [warning] = listed(out, "Warnings")
    assert warning.startswith("folder: 1 of 5 files are passed over")
    assert STARTS not in out


def test_skipped_images_are_counted_and_keep_no_job_from_starting(
    check: Check, change: Change, folder: Path
) -> None:
    (folder / "images/mnist/test/3/0.png").write_text("no image")
    change("tasks", mnist={"corrupt": "skip"})
    status, out, _ = check()
    assert status == 0
    [warning] = listed(out, "Warnings")
    assert "1 of 20 images cannot be decoded: images/mnist/test/3/0.png" in warning
    assert ["3", "3", "1", "images/mnist/test/3/1.png"] in [
        line.split() for line in out.splitlines()
    ]
    assert f"{STARTS}, but see the warnings above." in out


@pytest.mark.slow
def test_quietly_only_what_is_wrong_is_told(check: Check, change: Change) -> None:
    assert check("-q") == (0, "", "")
    change("experts", mnist="mnits.safetensors")
    status, out, err = check("--quiet")
    assert (status, err) == (1, "wemoe-pl: 1 problem keeps this job from starting.\n")
    assert out.startswith("\nProblems\n  - expert of mnist: ")


@pytest.mark.slow
def test_what_is_said_agrees_with_what_the_job_does(
    check: Check, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("wemoe_pl.reporting.finishing.write_figures", lambda *_: [])
    job = ["--config=adapt_miniature", "--suite=suite.yaml", "--data.batch_size=2", "--out=new"]
    short = ["--trainer.max_steps=1", "--trainer.val_check_interval=1", "--model.references=false"]
    capsys.readouterr()
    assert main(["check", *job, *short]) == main(["fit", *job, *short]) == 0
    assert main(["check", *job, *short]) == main(["fit", *job, *short]) == 0
    said = " ".join(capsys.readouterr().out.split())  # without the breaks of its lines
    assert "This very job has finished there: running it again would only show its table." in said
    assert main(["check", *job]) == main(["fit", *job]) == 1
    assert "holds a finished run of another config" in " ".join(capsys.readouterr().out.split())
    assert main(["check", *job, "--fresh"]) == 0
    assert "would replace it when it has finished" in " ".join(capsys.readouterr().out.split())
    source = folder / "folder.safetensors"
    source.write_bytes((folder / "mnist.safetensors").read_bytes())
    assert main(["check", *job, *short]) == main(["fit", *job, *short]) == 1
    assert "another finished run" in " ".join(capsys.readouterr().out.split())


def test_an_unfinished_run_is_gone_on_with(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--config=interrupted/config.yaml"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "what is there an unfinished run, saved at step 4" in out
    assert "The job would go on from interrupted/checkpoints/last.ckpt." in out


def test_a_static_merge_is_for_test(check: Check) -> None:
    status, out, _ = check(config="task_arithmetic")
    assert status == 0
    assert "test, since a static merge has nothing to adapt" in out
    assert "optimizer" not in out


def test_fine_tuning_reads_one_task_and_both_splits(check: Check) -> None:
    status, out, _ = check("--task=folder", config="finetune_miniature")
    assert status == 0
    assert "label  class  train  test  first image" in out
    assert "mnist" not in out


def test_methods_that_need_labels_say_so(check: Check, change: Change) -> None:
    change("tasks", folder={"labelled": False})
    assert check("--tasks=[folder]", config="regmean")[0] == 0
    status, out, _ = check("--tasks=[folder]", "--data.stream=train", config="multitask")
    assert status == 1
    assert "Training images of 'folder' have no labels" in out


def test_nothing_to_merge_is_a_problem_beside_the_others(check: Check, folder: Path) -> None:
    (folder / "images/folder/cat/0.png").write_text("no image")
    status, out, _ = check("--tasks=[folder]", "--unseen=[folder]")
    assert status == 1
    problems = listed(out, "Problems")
    assert len(problems) == 2
    assert problems[0].startswith("folder: 1 of 4 images cannot be decoded")
    assert problems[1] == "model: There is no expert to merge: give at least one."


@pytest.mark.slow
def test_batches_that_do_not_go_together_are_told(check: Check) -> None:
    status, out, _ = check("--data.tasks_per_batch=2")
    assert status == 1
    assert "set trainer.accumulate_grad_batches to 2" in " ".join(out.split())
    status, out, _ = check("--trainer.devices=3")
    assert status == 1
    assert "data.batch_size 16 does not split evenly over 3 devices" in " ".join(out.split())


def test_what_an_objective_and_the_guard_lack_is_told(check: Check) -> None:
    status, out, _ = check(
        "--model.objective=TrustedExperts",
        "--guard.action=restore",
        "--trainer.limit_val_batches=0",
    )
    said = " ".join(out.split())
    assert status == 1
    assert "set data.compare_with to train, or choose another objective" in said
    assert "guard.action is restore, which chooses among the validated states, but trainer" in said
    assert check("--model.objective=TrustedExperts", "--data.compare_with=train")[0] == 0


@pytest.mark.slow
def test_a_corpus_of_many_classes_stays_readable(
    check: Check, change: Change, folder: Path
) -> None:
    names = [f"species {i:03d}" for i in range(30)]
    for name in names:
        path = folder / "images/folder" / name / "0.png"
        path.parent.mkdir()
        path.write_bytes((folder / "images/folder/cat/0.png").read_bytes())
    _, out, _ = check()
    assert "22 more" in out
    assert "species 015" not in out
    _, out, _ = check("--full")
    assert all(name in out for name in names)


@pytest.mark.slow
def test_heads_that_are_yet_to_be_made_are_not_made(
    check: Check, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(self: ZeroShotHead, name: str) -> Any:
        raise AssertionError(f"the head of {name} is made")

    monkeypatch.setattr(ZeroShotHead, "build", build)
    suite = yaml.safe_load((folder / "suite.yaml").read_text())
    del suite["heads"]["folder"]
    (folder / "suite.yaml").write_text(yaml.safe_dump(suite))
    status, out, _ = check()
    assert status == 1
    [problem] = listed(out, "Problems")
    assert "has no head for 'folder'" in problem
    suite["text_tower"] = {"model": "ViT-B-32"}
    (folder / "suite.yaml").write_text(yaml.safe_dump(suite))
    status, out, _ = check()
    assert status == 1
    [problem] = listed(out, "Problems")
    assert problem.startswith("text tower: ")
    assert "has no text tower" in problem


def test_what_is_on_the_hub_is_not_fetched(
    check: Check,
    change: Change,
    folder: Path,
    tmp_path: Path,
    online: Callable[[LoopbackHub], Path],
) -> None:
    hub_folder = tmp_path / "hub/models/somebody/expert"
    hub_folder.mkdir(parents=True)
    shutil.copy(folder / "folder.safetensors", hub_folder / "model.safetensors")
    change("experts", folder="somebody/expert", mnist="somebody/nothing")
    with LoopbackHub(tmp_path / "hub") as hub:
        cache = online(hub)
        status, out, _ = check()
    assert status == 1
    assert list(cache.rglob("*.safetensors")) == []
    assert "to fetch, " in out
    assert "`wemoe-pl prepare` fetches them" in " ".join(out.split())
    [problem] = listed(out, "Problems")
    assert problem.startswith("expert of mnist: ")


@pytest.mark.slow
def test_the_shipped_suite_is_checked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["check", "--config=adapt_miniature", f"--out={out}"]) == 0
    assert not out.exists()
    said = capsys.readouterr().out
    assert said.count("MiniatureTask\n") == 8
    assert len(re.findall(r"^  test images +400 *$", said, re.MULTILINE)) == 8
    assert len(re.findall(r"^ +\d  .* 40  image \d+ of", said, re.MULTILINE)) == 80


def test_a_mistake_in_the_config_is_one_sentence(check: Check) -> None:
    status, out, err = check("--model.merge.lamda=1")
    assert (status, out) == (1, "")
    assert err.startswith("wemoe-pl: There is no key")
    assert len(err.splitlines()) == 1
