"""What a command does in the folder of a run: through the command line, as a user meets it."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml

from wemoe_pl import load
from wemoe_pl.cli import main
from wemoe_pl.reporting import finishing
from wemoe_pl.runs.checkpoint import read_checkpoint
from wemoe_pl.runs.folder import RunFolder, RunState
from wemoe_pl.runs.session import AlreadyFinished, trial_of_sweep
from wemoe_pl.system.files import sha256
from wemoe_pl.system.provenance import program
from wemoe_pl.training.adapt import TestTimeAdaptation


class Answer(NamedTuple):
    status: int
    out: str
    err: str


Command = Callable[..., Answer]
STEPS = ("--trainer.max_steps", "2", "--trainer.val_check_interval", "2")


@pytest.fixture
def command(
    tiny_suite_yaml: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> Command:  # fmt: skip
    """`command("fit", "--key", …)`: the main job on the tiny suite; by default into `a`."""
    monkeypatch.setattr("sys.argv", ["wemoe-pl"])
    monkeypatch.setattr(finishing, "write_figures", lambda *_: [])
    monkeypatch.chdir(tmp_path)

    def run(verb: str, *options: object, config: str = "adapt_miniature", out: str = "a") -> Answer:
        capsys.readouterr()
        suite = ["--suite", str(tiny_suite_yaml)] if config == "adapt_miniature" else []
        job = ["--config", config, *suite, "--model.references", "false"]
        quick = [*STEPS, "--data.batch_size", "4", "--trainer.deterministic", "false"]
        if config == "adapt_miniature":
            job += [*quick, "--model.learning_rate", "0.5", "--trainer.accelerator", "cpu"]
        where = ["--out", out] if out else []
        status = main.main([verb, *job, *where, *map(str, options)])
        return Answer(status, *capsys.readouterr())

    return run


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    """All files below a folder, with their times."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes()) for p in files}


def results(folder: str | Path) -> dict[str, Any]:
    contents: dict[str, Any] = json.loads((Path(folder) / "results.json").read_text())
    return contents


def test_the_same_command_on_a_finished_run_says_so_first_and_changes_nothing(
    command: Command, tmp_path: Path
) -> None:
    first = command("fit")
    assert first.status == 0
    before = everything(tmp_path)
    again = command("fit")
    assert again.status == 0
    said = (
        r"Nothing was run: this run was finished \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S* "
        r"by wemoe-pl \S+\.\n"
    )
    assert re.fullmatch(said, again.err)
    assert again.out == first.out.partition("Results are in")[0]
    assert everything(tmp_path) == before


def test_a_finished_run_of_which_the_code_or_torch_has_changed_is_not_shown_as_new(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("fit")
    before = everything(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("wemoe_pl.runs.identity.program", lambda: program() | {"code": "another"})
        answer = command("fit")
    assert answer.status == 1
    assert "finished before the code of wemoe-pl was changed: " in answer.err
    assert "nothing was run. Give --fresh to run it anew." in answer.err
    monkeypatch.setattr("wemoe_pl.runs.identity.program", lambda: program() | {"torch": "9.9"})
    answer = command("fit")
    assert (answer.status, answer.out) == (1, "")
    assert re.search(r"before torch \(then \S+, now 9\.9\) was changed", answer.err)
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "change"),
    [
        (("--seed_everything", "3"), "seed_everything was 0 and is now 3"),
        (("--model.merge.init_lambda", "0.2"), "init_lambda was 0.3 and is now 0.2"),
        (("--trainer.max_steps", "4"), "trainer.max_steps was 2 and is now 4"),
        (("--trainer.limit_test_batches", "1"), "limit_test_batches was None and is now 1"),
    ],
)
def test_another_config_in_the_folder_of_a_finished_run_is_refused_with_a_free_one(
    options: tuple[str, ...], change: str, command: Command, tmp_path: Path
) -> None:
    command("fit")
    before = everything(tmp_path)
    answer = command("fit", *options)
    assert answer.status == 1
    assert "a holds a finished run of another config: " in answer.err
    assert f"{change}. Give another --out, such as a-2, or --fresh to replace it" in answer.err
    assert everything(tmp_path) == before


@pytest.mark.slow
def test_more_steps_extend_a_finished_run_when_that_is_asked_for(command: Command) -> None:
    command("fit")
    longer = ("--ckpt_path", "last", "--trainer.max_steps", "4")
    assert command("fit", *longer).status == 0
    left = results("a")
    assert left["checkpoint"]["step"] == 4
    assert left["run"]["history"] == ["From step 2: trainer.max_steps was 2 and is now 4"]
    assert "From step 2: trainer.max_steps was 2 and" in Path("a/summary.md").read_text()
    assert command("fit", *longer).err.startswith("Nothing was run: this run was finished ")
    fewer = command("fit", "--ckpt_path", "last", "--trainer.max_steps", "3")
    assert fewer.status == 1
    assert "it ended at step 4, and trainer.max_steps is 3" in fewer.err


@pytest.mark.slow
def test_a_run_that_began_from_the_checkpoint_of_another_is_finished_and_gone_on_with_too(
    command: Command,
) -> None:
    command("fit")
    begun = ("fit", "--ckpt_path", "a/checkpoints/last.ckpt", "--trainer.max_steps", "4")
    assert command(*begun, out="b").status == 0
    left = results("b")["run"]
    assert left["began_from"] == sha256(Path("a/checkpoints/last.ckpt"))
    assert left["history"] == ["From step 2: trainer.max_steps was 2 and is now 4"]
    assert command(*begun, out="b").err.startswith("Nothing was run: this run was finished ")
    refused = command("fit", "--trainer.max_steps", "4", "--ckpt_path", "b/checkpoints/last.ckpt")
    assert refused.status == 1
    Path("b/results.json").unlink()
    assert command(*begun, out="b").status == 0
    assert results("b")["run"] == left


@pytest.mark.slow
def test_a_link_to_a_folder_is_the_folder(command: Command) -> None:
    Path("real").mkdir()
    Path("a").symlink_to("real")
    assert command("fit").status == 0
    assert command("fit", out="real").err.startswith("Nothing was run: this run was finished ")
    assert command("fit", "--seed_everything", "1", "--fresh").status == 0
    assert Path("a").is_symlink()
    assert results("real")["seed"] == 1
    assert RunFolder(Path("a")).lock == RunFolder(Path("real")).lock


def test_a_home_that_is_not_there_is_told(command: Command) -> None:
    answer = command("fit", "--out=~nobody-of-this-name/x", out="")
    assert answer.status == 1
    assert "There is no home folder for the ~ in '~nobody-of-this-name/x'" in answer.err


def test_fresh_replaces_a_finished_run_when_the_new_one_has_finished(command: Command) -> None:
    command("fit")
    Path("a/notes.txt").write_text("mine")
    old = results("a")
    other = ("--seed_everything", "1", "--fresh")
    assert command("fit", *other).status == 0
    assert results("a")["seed"] == 1
    assert results("a")["finished"] >= old["finished"]
    assert Path("a/notes.txt").read_text() == "mine"
    assert not Path("a/.next").exists()
    settings = yaml.safe_load(Path("a/config.yaml").read_text())
    assert settings["out"] == "a"
    assert ".next" not in Path("a/config.yaml").read_text()
    assert [path.name for path in Path().iterdir()] == ["a"]


@pytest.mark.slow
def test_a_fresh_run_that_is_interrupted_leaves_the_old_one_and_is_gone_on_with(
    command: Command, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    command("fit")
    before = everything(Path("a"))
    other = ("fit", "--seed_everything", "1", "--fresh", "--checkpoint.every_n_steps", "1")
    with monkeypatch.context() as patch:
        patch.setattr(finishing, "collect_results", interrupt)
        with pytest.raises(ZeroDivisionError):
            command(*other)
    left = everything(Path("a"))
    assert {name: left[name] for name in before} == before
    assert RunFolder(Path("a/.next")).state is RunState.UNFINISHED
    shown = command("fit")
    assert shown.err.startswith("Nothing was run: this run was finished ")
    assert command(*other).status == 0
    assert "Going on from step 2 of 2: a/.next/checkpoints/last.ckpt" in caplog.text
    assert results("a")["seed"] == 1


def interrupt(*_: object) -> None:
    raise ZeroDivisionError


@pytest.mark.slow
def test_a_fresh_run_of_another_config_begins_again(command: Command) -> None:
    command("fit")
    unfinished = RunFolder(Path("a")).next
    shutil.copytree("a", unfinished.path, ignore=shutil.ignore_patterns(".next"))
    unfinished.results.unlink()
    assert command("fit", "--seed_everything", "5", "--fresh").status == 0
    assert results("a")["seed"] == 5
    assert results("a")["run"]["history"] == []


def test_results_name_the_checkpoint_that_they_were_scored_with(command: Command) -> None:
    command("fit")
    last = RunFolder(Path("a")).last_checkpoint
    assert results("a")["checkpoint"] == {"sha256": sha256(last), "step": 2}
    command("test", "--ckpt_path", last, out="b")
    assert results("b")["checkpoint"] == {"sha256": sha256(last), "step": 2}
    command("test", "--ckpt_path", "none", out="c")
    assert results("c")["checkpoint"] is None


def test_a_run_is_scored_by_its_own_config_with_its_own_checkpoint_in_a_folder_below_it(
    command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    command("fit")
    before = everything(Path("a"))
    assert command("test", config="a/config.yaml", out="").status == 0
    assert "Using the checkpoint of this run: a/checkpoints/last.ckpt" in caplog.text
    own, fit = results("a/test"), results("a")
    for key in ("accuracy", "information", "calibration_error", "method", "checkpoint"):
        assert own[key] == fit[key]
    left = everything(Path("a"))
    assert {name: left[name] for name in before} == before
    assert command("test", config="a/config.yaml", out="").err.startswith("Nothing was run: ")


def test_a_run_that_was_moved_is_used_where_it_is_now(command: Command) -> None:
    command("fit")
    Path("a").rename("moved")
    assert command("test", config="moved/config.yaml", out="").status == 0
    assert results("moved/test")["accuracy"] == results("moved")["accuracy"]
    assert not Path("a").exists()


def test_without_its_checkpoint_a_model_is_labelled_as_not_adapted(command: Command) -> None:
    command("fit")
    answer = command("test", "--ckpt_path", "none", config="a/config.yaml", out="b")
    assert answer.status == 0
    assert results("b")["method"] == "WEMoE, not adapted"
    assert "WEMoE, not adapted" in answer.out
    assert Path("b/summary.md").read_text().startswith("# WEMoE, not adapted on tiny")
    main.main(["export", "b", "--out", "exported"])
    manifest = json.loads(Path("exported/wemoe_pl.json").read_text())
    assert manifest["method"] == "WEMoE, not adapted"


def test_another_model_does_not_get_the_checkpoint_of_the_run_whose_config_it_is_given(
    command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    command("fit")
    other = ("--model.merge.init_lambda", "0.1")
    assert command("test", *other, config="a/config.yaml", out="b").status == 0
    assert "The checkpoint of a is not used, because the model has changed: " in caplog.text
    assert results("b")["method"] == "WEMoE, not adapted"


@pytest.mark.slow
def test_predictions_of_a_run_by_its_own_config_are_those_of_its_checkpoint(
    command: Command, tmp_path: Path, tiny_suite: Any
) -> None:
    command("fit")
    images = tmp_path / "images"
    images.mkdir()
    tiny_suite.tasks["cars"].images("test")[0][0].save(images / "0.png")
    for out, options in {
        "own": (),
        "given": ("--ckpt_path", "last"),
        "none": ("--ckpt_path", "none"),
    }.items():
        name = ("--predictions.file", f"{out}.csv", "--data.images", images)
        assert command("predict", *name, *options, config="a/config.yaml", out="").status == 0
    own, given, none = (Path(f"a/{name}.csv").read_text() for name in ("own", "given", "none"))
    assert own == given != none


def test_a_model_is_loaded_by_the_config_of_its_run(command: Command) -> None:
    command("fit")
    by_config, by_folder = load("a/config.yaml"), load("a")
    for one, other in zip(by_config.parameters(), by_folder.parameters(), strict=True):
        assert one.equal(other)


@pytest.mark.slow
def test_a_checkpoint_of_another_seed_is_not_gone_on_with_as_if_it_were_of_this_one(
    command: Command,
) -> None:
    command("fit")
    command("fit", "--seed_everything", "5", out="b")
    mine, other = RunFolder(Path("a")), RunFolder(Path("b"))
    mine.results.unlink()
    shutil.copy(other.last_checkpoint, mine.last_checkpoint)
    answer = command("fit")
    assert answer.status == 1
    assert "belongs to another run: seed_everything was 5 and is now 0" in answer.err
    assert command("fit", "--ckpt_path", "last").status == 0
    assert results("a")["run"]["history"] == ["From step 2: seed_everything was 5 and is now 0"]


def test_a_run_that_goes_on_with_other_code_says_so(
    command: Command, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    command("fit")
    Path("a/results.json").unlink()
    other = program() | {"code": "other", "wemoe_pl": "9.9"}
    monkeypatch.setattr("wemoe_pl.runs.identity.program", lambda: other)
    assert command("fit").status == 0
    [told] = results("a")["run"]["history"]
    assert re.fullmatch(
        r"From step 2: the code of wemoe-pl \(then \S+, now 9\.9\) has changed", told
    )
    assert told in caplog.text


@pytest.mark.slow
def test_a_checkpoint_that_was_put_beside_results_is_not_theirs(command: Command) -> None:
    command("fit")
    command("fit", "--seed_everything", "5", out="b")
    shutil.copy("b/checkpoints/last.ckpt", "a/checkpoints/last.ckpt")
    assert RunFolder(Path("a")).state is RunState.UNFINISHED
    assert command("fit").status == 1


def test_a_folder_of_something_else_is_left_alone(command: Command) -> None:
    Path("a").mkdir()
    Path("a/config.yaml").write_text("mine: 1\n")
    for verb in ("fit", "test"):
        answer = command(verb, "--fresh")
        assert answer.status == 1
        assert "a holds a results.json or config.yaml that is damaged or was not" in answer.err
        assert "Give another --out, such as a-2" in answer.err
    assert Path("a/config.yaml").read_text() == "mine: 1\n"


@pytest.mark.parametrize("spelled", ["command line", "config"])
def test_a_tilde_is_the_home_folder_for_all_parts_of_a_run(
    spelled: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    where: tuple[str, ...] = ("--out=~/runs/x",)
    if spelled == "config":
        Path("out.yaml").write_text("out: ~/runs/x\n")
        where = ("--config", "out.yaml")
    assert command("fit", *where, out="").status == 0
    assert not list(tmp_path.glob("~*"))
    home = tmp_path / "home/runs/x"
    assert {path.name for path in home.iterdir()} >= {
        "checkpoints", "config.yaml", "logs", "results.json", "summary.md",
    }  # fmt: skip


def test_a_trial_leaves_a_finished_run_as_it_was(command: Command, tmp_path: Path) -> None:
    command("fit")
    before = everything(tmp_path)
    answer = command("fit", "--trainer.fast_dev_run", "true")
    assert answer.status == 0
    assert "Only a trial" in answer.out
    assert everything(tmp_path) == before


def test_a_trial_in_a_new_folder_says_so_and_is_in_nobodys_way(command: Command) -> None:
    assert command("fit", "--trainer.fast_dev_run", "true").status == 0
    trial = results("a")
    assert trial["partial"].startswith("Only a trial: the first batch of test images of every task")
    assert trial["method"] == "WEMoE, partial"
    assert RunFolder(Path("a")).state is RunState.EMPTY
    assert command("fit").status == 0
    assert results("a")["partial"] is None
    assert "fast_dev_run" not in results("a")


def test_what_was_scored_only_in_part_says_so_everywhere(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = ("--trainer.limit_test_batches", "1", "--data.test_batch_size", "3")
    answer = command("fit", *limits, "--trainer.limit_val_batches", "2")
    left = results("a")
    told = "Only the first batch of test images of every task was scored."
    assert left["partial"] == told
    assert (
        left["curves"]
        == "The validation curves cover only the first 2 batches of test images of every task."
    )
    assert left["method"] == "WEMoE, partial"
    assert set(left["images"].values()) == {3}
    summary = Path("a/summary.md").read_text()
    assert summary.startswith("# WEMoE, partial on tiny")
    assert f"> {told}" in summary
    assert f"> {left['curves']}" in summary
    assert "WEMoE, partial" in answer.out
    main.main(["report", "a"])
    reported = capsys.readouterr().out
    assert "WEMoE, partial" in reported
    assert told in reported


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (("--trainer.limit_train_batches", "0"), "is 0, and so nothing would be learned"),
        (("--trainer.limit_test_batches", "0"), "is 0, and so nothing would be scored"),
        (
            ("--trainer.limit_train_batches", "0.5"),
            "are repeated endlessly and have no share: give a number",
        ),
        (
            ("--trainer.overfit_batches", "0.5"),
            "are repeated endlessly and have no share: give a number",
        ),
    ],
)
def test_a_limit_that_leaves_nothing_is_refused(
    limit: tuple[str, str], message: str, command: Command
) -> None:
    answer = command("fit", *limit)
    assert answer.status == 1
    assert message in answer.err
    assert not Path("a").exists()


def entropies(out: str) -> list[str]:
    header, *lines = (line.split(",") for line in Path(out, "logs/metrics.csv").read_text().split())
    column = header.index("train/entropy")
    return [cells[column] for cells in lines if cells[column]]


@pytest.mark.slow
def test_a_limited_epoch_repeats_no_images_and_overfitting_does(command: Command) -> None:
    still = (
        "--model.learning_rate", "1e-12", "--trainer.max_steps", "6",
        "--trainer.log_every_n_steps", "1", "--trainer.val_check_interval", "2",
    )  # fmt: skip
    command("fit", *still, out="plain")
    command("fit", *still, "--trainer.limit_train_batches", "2", out="limited")
    command("fit", *still, "--trainer.overfit_batches", "2", out="overfitted")
    plain, overfitted = entropies("plain"), entropies("overfitted")
    assert entropies("limited") == plain
    assert len(set(plain)) == 6
    assert results("limited")["partial"] is None
    assert [value[:6] for value in overfitted] == [value[:6] for value in plain[:2]] * 3


@pytest.mark.parametrize("limit", ["limit_train_batches", "overfit_batches"])
@pytest.mark.parametrize(
    "stop", [pytest.param(2, marks=pytest.mark.slow), 3, pytest.param(5, marks=pytest.mark.slow)]
)
def test_a_limited_run_goes_on_as_if_it_had_never_ended(
    limit: str, stop: int, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (
        "--trainer.max_steps", "6", f"--trainer.{limit}", "2", "--checkpoint.every_n_steps", "1",
    )  # fmt: skip
    command("fit", *options, out="whole")
    original = TestTimeAdaptation.training_step

    def failing(self: TestTimeAdaptation, batch: Any, batch_idx: int) -> Any:
        if self.trainer.global_step == stop:
            raise ZeroDivisionError
        return original(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(TestTimeAdaptation, "training_step", failing)
        with pytest.raises(ZeroDivisionError):
            command("fit", *options, out="cut")
    assert command("fit", *options, out="cut").status == 0
    whole, cut = (
        read_checkpoint(RunFolder(Path(out)).last_checkpoint)["state_dict"]
        for out in ("whole", "cut")
    )
    torch.testing.assert_close(cut, whole, rtol=0, atol=0)


def test_the_trials_of_an_agent_have_a_folder_each(monkeypatch: pytest.MonkeyPatch) -> None:
    assert trial_of_sweep(Path("a")) == Path("a")
    monkeypatch.setenv("WANDB_RUN_ID", "x1")
    assert trial_of_sweep(Path("a")) == Path("a")  # set by a user who names a run
    monkeypatch.setenv("WANDB_SWEEP_ID", "s")
    assert trial_of_sweep(Path("a")) == Path("a/x1")
    assert trial_of_sweep(Path("a/x1")) == Path("a/x1")  # of a trial that is scored again


def test_trials_of_an_agent_are_never_refused(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_SWEEP_ID", "s")
    for trial, seed in (("x1", "1"), ("x2", "2")):
        monkeypatch.setenv("WANDB_RUN_ID", trial)
        assert command("fit", "--seed_everything", seed).status == 0
        assert results(f"a/{trial}")["seed"] == int(seed)


def test_a_run_of_an_earlier_version_is_shown_with_the_time_of_its_file(
    command: Command,
) -> None:
    command("fit")
    left = results("a")
    for key in ("run", "checkpoint", "finished", "partial", "curves"):
        del left[key]
    Path("a/results.json").write_text(json.dumps(left))
    answer = command("fit")
    assert answer.status == 1
    assert "finished before the code of wemoe-pl" in answer.err
    told = AlreadyFinished(RunFolder(Path("a")), left).sentence
    assert re.fullmatch(r"Nothing was run: this run was finished \d{4}-.* by wemoe-pl \S+\.", told)


@pytest.mark.slow
def test_a_validation_of_a_part_says_so_and_one_of_nothing_is_refused(command: Command) -> None:
    command("fit")
    limited = ("validate", "--data.test_batch_size", "3", "--trainer.limit_val_batches")
    answer = command(*limited, "1", config="a/config.yaml", out="")
    assert "WEMoE, partial" in answer.out
    assert "Only the first batch of test images" in " ".join(answer.out.split())
    trial = command("validate", "--trainer.fast_dev_run", "true", config="a/config.yaml", out="")
    assert "WEMoE, partial" in trial.out
    assert "partial" not in command(*limited, "1.0", config="a/config.yaml", out="").out
    nothing = command(*limited, "0", config="a/config.yaml", out="")
    assert nothing.status == 1
    assert "limit_val_batches is 0, and so nothing would be scored" in nothing.err


def test_a_limit_beyond_the_last_batch_leaves_nothing_out(command: Command) -> None:
    command("test", "--trainer.limit_test_batches", "1000")
    assert results("a")["partial"] is None
    assert results("a")["method"] == "WEMoE, not adapted"


@pytest.mark.slow
def test_a_run_that_was_extended_uses_its_own_checkpoint_wherever_it_is_moved(
    command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    command("fit")
    command("fit", "--ckpt_path", "last", "--trainer.max_steps", "4")
    shutil.copytree("a", "moved")
    assert yaml.safe_load(Path("moved/config.yaml").read_text())["ckpt_path"] is None
    command("fit", "--fresh")  # puts another checkpoint where the copied run was extended
    assert command("test", config="moved/config.yaml", out="").status == 0
    assert "Using the checkpoint of this run: moved/checkpoints/last.ckpt" in caplog.text
    assert results("moved/test")["checkpoint"] == results("moved")["checkpoint"]


@pytest.mark.slow
def test_a_run_is_scored_with_what_it_came_to_and_not_with_what_it_began_from(
    command: Command,
) -> None:
    command("fit")
    began = ("--ckpt_path", "a/checkpoints/last.ckpt")
    command("fit", *began, "--trainer.max_steps", "4", out="b")
    command("test", config="b/config.yaml", out="")
    assert results("b/test")["checkpoint"] == results("b")["checkpoint"]
    command("test", *began, config="b/config.yaml", out="c")
    assert results("c")["checkpoint"] == results("a")["checkpoint"]


def test_a_command_that_fails_before_its_work_leaves_no_empty_folder(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    for out in ("a", "mine"):
        answer = command("fit", "--model.learning_rate", "-1", out=out)
        assert answer.status == 1
    assert not (tmp_path / "a").exists()
    assert (tmp_path / "mine").is_dir()
