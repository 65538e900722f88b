"""Which command goes where, and the verbs, through the console script's own function."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.launched import torchrun
from helpers.written_runs import bare_results
from lightning.fabric.utilities.exceptions import MisconfigurationException
from PIL import Image
from torch import Tensor

from wemoe_pl.cli import main, verbs
from wemoe_pl.cli.options import SUBCOMMANDS, VERBS
from wemoe_pl.cli.verbs import run, run_verb
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError, DataError
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.loading import load
from wemoe_pl.export.writing import export
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.training.lightning_noise import LOGGERS, says_something

Said = tuple[int, str, str]


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What is called instead of what takes long, each with its arguments."""
    calls: list[tuple[Any, ...]] = []
    for name in ("run_verb", "run_job"):
        monkeypatch.setattr(verbs, name, lambda *args, name=name: calls.append((name, *args)))
    return calls


@pytest.mark.parametrize("verb", VERBS)
def test_a_command_without_a_trainer_is_given_what_follows_it(
    verb: str, called: list[tuple[Any, ...]]
) -> None:
    run([verb, "--out", "here"])
    assert called == [("run_verb", verb, ["--out", "here"])]


@pytest.mark.parametrize("command", [*SUBCOMMANDS, "--trainer.max_steps"])
def test_everything_else_is_parsed_by_lightning(
    command: str, called: list[tuple[Any, ...]]
) -> None:
    run([command, "2"])
    assert called == [("run_job", [command, "2"])]


@pytest.mark.parametrize(("name", "command"), [("run_verb", "prepare"), ("run_job", "fit")])
def test_what_lightning_refuses_is_an_error_of_ours_and_ours_are_left_alone(
    name: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(verbs, name, fail)
    error: Exception = MisconfigurationException("No such accelerator.")
    with pytest.raises(ConfigError, match=r"^No such accelerator\.$"):
        run([command])
    error = DataError("No such folder.")
    with pytest.raises(DataError) as raised:
        run([command])
    assert raised.value is error


def test_a_run_begins_by_silencing_lightning(called: list[tuple[Any, ...]]) -> None:
    run(["fit"])
    assert called
    assert all(says_something in logging.getLogger(name).filters for name in LOGGERS)


@pytest.fixture
def wemoe_pl(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """`wemoe_pl("similarity", "--config", …)`: status, output and errors of a command."""
    monkeypatch.setattr("sys.argv", ["wemoe-pl"])

    def run(*arguments: str | Path) -> Said:
        capsys.readouterr()
        status = main.main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def job(tiny_suite_yaml: Path, tmp_path: Path) -> tuple[str | Path, ...]:
    """The main job on the tiny suite."""
    return "--config", "adapt_miniature", "--suite", tiny_suite_yaml, "--out", tmp_path / "out"


@pytest.mark.parametrize(
    ("verb", "options", "files"),
    [
        ("similarity", (), ["similarity.csv", "similarity.png"]),
        ("landscape", ("--points", "3", "--images", "5"), ["landscape.csv", "landscape.png"]),
        ("parameters", (), ["parameters.csv", "parameters.png"]),
    ],
)
def test_an_analysis_leaves_a_table_and_a_picture_and_says_where(
    verb: str, options: tuple[str, ...], files: list[str],
    wemoe_pl: Callable[..., Said], job: tuple[str | Path, ...], tmp_path: Path,
) -> None:  # fmt: skip
    status, out, err = wemoe_pl(verb, *job, *options)
    assert (status, err) == (0, "")
    vector = files[1].replace(".png", ".svg")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [*files, vector]
    assert out.splitlines() == [str(tmp_path / "out" / name) for name in files]


def test_a_landscape_is_of_the_two_tasks_that_are_asked_for(
    wemoe_pl: Callable[..., Said], job: tuple[str | Path, ...], tmp_path: Path
) -> None:
    status, _, err = wemoe_pl("landscape", *job, "--tasks", "[mnist,cars]", "--points", "2")
    assert (status, err) == (0, "")
    lines = (tmp_path / "out" / "landscape.csv").read_text().splitlines()
    assert {line.split(",")[2] for line in lines[1:]} == {"mnist", "cars"}
    status, _, err = wemoe_pl("landscape", *job, "--tasks", "[mnist]")
    assert status == 1
    assert err == ("wemoe-pl: A landscape lies between two experts: give two with --tasks [a,b].\n")


def test_sweeps_and_reports_are_commands(
    wemoe_pl: Callable[..., Said], job: tuple[str | Path, ...], tmp_path: Path
) -> None:
    status, out, err = wemoe_pl("sweep", *job, "--grid", "seed_everything=0,1", "--dry-run")
    assert (status, err) == (0, "")
    assert [line.split()[:2] for line in out.splitlines()] == [["wemoe-pl", "fit"]] * 2
    results = bare_results({"cars": 0.5}, method="TIES")
    (tmp_path / "results.json").write_text(json.dumps(results))
    status, out, err = wemoe_pl("report", tmp_path)
    assert (status, err) == (0, "")
    assert "| TIES | 50.0 | 50.0 | – |" in out


def test_a_model_is_exported_and_how_it_went_is_told(
    wemoe_pl: Callable[..., Said], checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "exports"
    status, said, err = wemoe_pl("export", checkpoint, "--out", out)
    assert (status, err) == (0, "")
    lines = said.splitlines()
    assert lines[0].startswith(f"{out} will take ")
    assert lines[1] == "Read back, its features differ by at most 0.0e+00 from the model's."
    small = ("--format", "bundle", "--precision", "bfloat16", "--dictionary", "pruned=0.5")
    status, said, err = wemoe_pl("export", out, *small, "--out", tmp_path / "small")
    assert (status, err) == (0, "")
    assert said.splitlines()[2].startswith("In this form, features changed by up to ")
    assert load(tmp_path / "small").tasks == load(checkpoint).tasks


def test_a_model_is_exported_as_a_classifier_of_one_task(
    wemoe_pl: Callable[..., Said], tiny_suite: Suite, tmp_path: Path
) -> None:
    model = ExportedModel.assemble(tiny_suite, TaskArithmetic(), {}, is_adapted=False)
    export(model, "adapter", tmp_path / "adapter", lambda line: None)
    task, out = model.classifier.tasks[0], tmp_path / "one"
    asked = ("--format", "timm", "--task", task, "--out", out)
    status, said, err = wemoe_pl("export", tmp_path / "adapter", *asked)
    assert (status, err) == (0, "")
    assert "its logits differ by at most" in said
    assert (
        "For images of noise, its logits differ from those of the multi-task model by up to "
        in said
    )
    assert json.loads((out / "config.json").read_text())["label_names"]


def test_a_task_whose_routing_is_not_known_is_told_so(
    wemoe_pl: Callable[..., Said], checkpoint: Path, tmp_path: Path
) -> None:
    task, out = load(checkpoint).tasks[0], tmp_path / "one"
    asked = ("--format", "timm", "--task", task, "--out", out)
    status, said, err = wemoe_pl("export", checkpoint, *asked)
    assert (status, said) == (1, "")
    assert f"does not know how images of '{task}' are routed" in err
    assert not out.exists()


def test_tools_are_looked_for_before_the_model_is_read(
    wemoe_pl: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "no-compiler"))
    status, said, err = wemoe_pl("export", "nowhere", "--format", "aoti")
    assert (status, said) == (1, "")
    assert "The format aoti needs a C++ compiler" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("export", "nowhere", "--precision", "bfloat16"),
            "--precision and --dictionary apply only to bundles: set --format bundle.",
        ),
        (
            ("export", "nowhere", "--format", "onnx", "--task", "cars"),
            "--task makes a plain classifier of timm, and the format onnx is not for that: set "
            "--format timm, or leave --task out.",
        ),
        (
            ("export", "nowhere", "--device", "cuda"),
            "--device applies only to native code: set --format aoti.",
        ),
        (
            ("export", "nowhere", "--push", "me"),
            "--push is 'me': give USER/NAME, such as me/eight-tasks.",
        ),
        (
            ("export", "nowhere"),
            "There is no nowhere: give the folder of a run or an export, a checkpoint, or the id "
            "of a model on the hub.",
        ),
        (("export",), "the following arguments are required: DIR. See wemoe-pl export --help."),
        (("report", "nowhere"), "There is no folder nowhere: give the folder of a run."),
        (("report",), "the following arguments are required: DIR. See wemoe-pl report --help."),
        (("sweep",), "There is nothing to sweep: give --grid KEY=A,B,C."),
    ],
)
def test_mistakes_end_in_one_sentence(
    arguments: tuple[str, ...], message: str, wemoe_pl: Callable[..., Said]
) -> None:
    assert wemoe_pl(*arguments) == (1, "", f"wemoe-pl: {message}\n")


@pytest.mark.parametrize("verb", ["heads", "report", "similarity", "sweep"])
def test_a_command_without_a_trainer_is_not_run_several_times(
    verb: str, wemoe_pl: Callable[..., Said], job: tuple[str | Path, ...], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name, value in torchrun(2)[1].items():
        monkeypatch.setenv(name, value)
    status, _, errors = wemoe_pl(verb, *job)
    assert status == 1
    assert f"`wemoe-pl {verb}` is for one process, but torchrun has started 2" in errors
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("more", [["--format", "csv"], ["--format=markdown"], ["--out", "a.md"]])
def test_a_page_is_no_document_in_another_format(more: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    with pytest.raises(ConfigError, match=r"^--html writes a page, .* --format .* --out"):
        run_verb("report", [str(tmp_path), "--html", str(out), *more])
    assert not out.exists()


def test_a_family_is_of_published_rows_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--family .* give --published as well"):
        run_verb("report", [str(tmp_path), "--family", "B leaky"])


# --- edited checkpoints ----------------------------------------------------------------------


def one_weight_is_infinite(state: dict[str, Tensor]) -> None:
    next(iter(state.values())).view(-1)[0] = float("inf")


def the_last_weight_is_missing(state: dict[str, Tensor]) -> None:
    state.popitem()


def one_weight_is_of_whole_numbers(state: dict[str, Tensor]) -> None:
    name, weight = next(iter(state.items()))
    state[name] = weight.long()


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (one_weight_is_infinite, "has NaN or infinite values in 'state_dict.classifier.encoder."),
        (the_last_weight_is_missing, ".blocks.1.mlp.router.out.bias' is missing"),
        (one_weight_is_of_whole_numbers, ".router.hidden.weight' of torch.int64, and its run has"),
    ],
)
@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict", "export"])
def test_every_command_refuses_a_checkpoint_that_was_edited(
    command: str,
    edit: Callable[[dict[str, Tensor]], None],
    complaint: str,
    wemoe_pl: Callable[..., Said],
    job: tuple[str | Path, ...],
    checkpoint: Path,
    tmp_path: Path,
) -> None:
    contents = torch.load(checkpoint, weights_only=True)
    edit(contents["state_dict"])
    torch.save(contents, checkpoint)
    (tmp_path / "images").mkdir()
    Image.new("RGB", (28, 28)).save(tmp_path / "images" / "grey.png")
    given: tuple[str | Path, ...] = (*job, "--ckpt_path", checkpoint, "--data.num_workers", "0")
    options = ("--data.images", tmp_path / "images") if command == "predict" else ()
    if command == "export":
        given = (checkpoint, "--format", "bundle", "--out", tmp_path / "out")
    status, _, err = wemoe_pl(command, *given, *options)
    assert status == 1
    assert complaint in err
    assert err.count("wemoe-pl: ") == 1
    for left in ("results.json", "bundle.safetensors", "predictions.csv"):
        assert not (tmp_path / "out" / left).exists()


def test_a_verb_takes_the_switches_of_the_job_that_it_is_about(
    wemoe_pl: Callable[..., Said], job: tuple[str | Path, ...]
) -> None:
    more = ("--fresh", "--quiet", "--data.num_workers", "999")
    status, _, err = wemoe_pl("similarity", *job, *more)
    assert (status, err) == (0, "")
