"""The command line as its users meet it: every shipped config, every command, every mistake."""

import csv
import json
import re
import shlex
import shutil
import signal
from collections.abc import Callable, Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import Mock

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from helpers.hub_content import write_expert
from helpers.launched import run, torchrun
from helpers.loopback_hub import LoopbackHub
from helpers.plain_images import random_image
from PIL import Image

from wemoe_pl.callbacks.predictions import Predictions
from wemoe_pl.checkpoints.heads import load_head
from wemoe_pl.cli import main, verbs
from wemoe_pl.cli.options import COMMANDS
from wemoe_pl.data.to_classify import NamedBatch
from wemoe_pl.errors import DataError, UnreachableError
from wemoe_pl.model.recipe import read_suite
from wemoe_pl.system.configs import SHIPPED_CONFIGS, shipped_configs, shipped_trainers
from wemoe_pl.system.signals import Stopped
from wemoe_pl.training.module import MultiTaskModule

SUITES = sorted(SHIPPED_CONFIGS.glob("suites/*.yaml"))
OWN_TASKS = {"pets": ("cat", "dog"), "flowers": ("daisy", "rose", "tulip")}
CLIP_B32 = "openai/clip-vit-base-patch32"
QUIET = ("--trainer.enable_progress_bar", "false")
# Adapted, merged with and without samples, fine-tuned, trained on all tasks, and of CLIP.
ONE_OF_EACH_KIND = {
    *("adapt_miniature.yaml", "task_arithmetic.yaml", "fisher.yaml", "finetune_miniature.yaml"),
    *("pretrain_miniature.yaml", "multitask.yaml", "adapt_vitb32.yaml"),
}
# What the tiny suite has of the tasks that an experiment names.
FEWER_TASKS = {
    "corrupted_miniature.yaml": ["--tasks", "[cars,dtd]"],
    "generalise_miniature.yaml": ["--unseen", "[mnist]"],
}
FROM_A_WORKER = """Caught DataError in DataLoader worker process 0.
Original Traceback (most recent call last):
  File "data.py", line 1, in fetch
wemoe_pl.errors.DataError: 1 of 4 images cannot be decoded: a.png.
"""
TWO_STEPS = ("--trainer.max_steps", "2", "--data.batch_size", "4")


class Answer(NamedTuple):
    """What a command gave."""

    status: int
    out: str
    err: str


Command = Callable[..., Answer]


@pytest.fixture(autouse=True)
def restored_determinism() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)  # `deterministic: true` outlives its trainer


@pytest.fixture
def wemoe_pl(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`wemoe_pl("fit", "--config", …)`: run a command in this process."""
    monkeypatch.setattr("sys.argv", ["wemoe-pl"])  # Lightning warns when it has arguments

    def run(*arguments: str | Path) -> Answer:
        capsys.readouterr()
        try:
            status = main.main([str(argument) for argument in arguments])
        except SystemExit as leaving:  # --help and --print_config
            status = int(leaving.code or 0)
        return Answer(status, *capsys.readouterr())

    return run


@pytest.fixture
def adapt(tiny_suite_yaml: Path) -> tuple[str | Path, ...]:
    """The options of the main job on the tiny suite."""
    return "--config", "adapt_miniature", "--suite", tiny_suite_yaml, *QUIET


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of three images to classify."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(3):
        pixels = np.random.default_rng(seed).integers(256, size=(30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}.png")
    return folder


def results(folder: Path) -> dict[str, Any]:
    contents: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return contents


def documented_command(config: str) -> list[str]:
    """The command that a shipped config tells its reader to run."""
    text = (SHIPPED_CONFIGS / config).read_text()
    found = re.search(rf"^#   wemoe-pl (.* --config {config} .*)$", text, re.MULTILINE)
    assert found, f"{config} does not say how it is run"
    return shlex.split(found[1])


def assert_refused(answer: Answer, out: Path, *fragments: str) -> None:
    """One line that holds the fragments, a status, and nothing left behind."""
    assert answer.status == 1
    lines = [line for line in answer.err.splitlines() if line]
    assert len(lines) == 1, answer.err
    assert lines[0].startswith("wemoe-pl: ")
    for fragment in fragments:
        assert fragment in lines[0]
    assert not out.is_dir() or not list(out.iterdir())


# Commands that work


@pytest.fixture
def as_a_user_would(
    hub_root: Path,
    online: Callable[[LoopbackHub], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    """A hub to talk to, and a folder with what `bring_your_own` speaks of."""
    monkeypatch.chdir(tmp_path)
    for seed, (task, classes) in enumerate(OWN_TASKS.items()):
        write_expert(Path("experts", task), hub_root / "models" / CLIP_B32, seed)
        for split, name in product(("train", "test"), classes):
            folder = Path("images", task, split, name)
            folder.mkdir(parents=True)
            Image.new("RGB", (40, 30), (seed * 90, 50, len(name) * 20)).save(folder / "1.png")
    with LoopbackHub(hub_root) as hub:
        online(hub)
        yield


def tiny_clip(config: str) -> list[str]:
    """The options that make a job on CLIP one on the tiny models of the loopback hub."""
    command = documented_command(config)
    main = (SHIPPED_CONFIGS / command[command.index("--config") + 1]).read_text()
    [suite] = re.findall(r"^suite: (\S+)", main, re.MULTILINE)
    suite_text = (SHIPPED_CONFIGS / suite).read_text()
    [patch] = re.findall(r"^  model: vit_\w+_patch(\d+)_clip", suite_text, re.MULTILINE) or [None]
    if patch is None:
        return []
    sizes = {"embed_dim": 64, "depth": 2, "num_heads": 4, "num_classes": 32}
    sizes |= {"img_size": 4 * int(patch), "patch_size": int(patch)}
    text_sizes = {"embed_dim": 32, "width": 32, "heads": 2, "layers": 2}
    return [
        "--suite.backbone.options", json.dumps(sizes),
        "--suite.text_tower.options", json.dumps(text_sizes),
        "--trainer.accelerator", "cpu", "--data.num_workers", "0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(config, marks=() if config in ONE_OF_EACH_KIND else pytest.mark.slow)
        for config in shipped_configs()
    ],
)
@pytest.mark.usefixtures("as_a_user_would")
def test_every_shipped_config_runs_as_it_says(
    wemoe_pl: Command, tiny_suite_yaml: Path, tmp_path: Path, config: str
) -> None:
    command, clip = documented_command(config), tiny_clip(config)
    override = ["--out", tmp_path, "--trainer.max_steps", "2", *QUIET]
    override += clip or ["--suite", tiny_suite_yaml]
    override += ["--task", "cars"] if "--task" in command else []
    override += [] if clip else FEWER_TASKS.get(config, [])
    answer = wemoe_pl(*command, *override)
    assert answer.status == 0, answer.err
    assert f"Results are in {tmp_path}" in answer.out.replace("\n", "")
    left = results(tmp_path)
    assert left["suite"].startswith("CLIP" if clip and "own" not in config else ("tiny", "mine"))
    assert set(left["sources"]) >= {"pretrained"} or "pretrain" in config
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["out"] == str(tmp_path)
    assert (tmp_path / "logs" / "metrics.csv").exists()
    assert (tmp_path / "checkpoints" / "last.ckpt").exists() == (command[0] == "fit")


@pytest.mark.parametrize(
    "trainer",
    [
        pytest.param(trainer, marks=() if trainer.endswith("ddp.yaml") else pytest.mark.slow)
        for trainer in shipped_trainers()
    ],
)
def test_every_shipped_trainer_is_composed_with_a_job(
    wemoe_pl: Command, adapt: tuple[str], tmp_path: Path, trainer: str
) -> None:
    """In two processes, as torchrun would start them, without GPUs."""
    here = ["--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.num_nodes", "1"]
    job = ("fit", *adapt, *TWO_STEPS, "--config", trainer)
    run(torchrun(2), [*job, *here, "--out", tmp_path], tmp_path / "said")
    assert len(results(tmp_path)["images"]) == 3
    ran = with_short_names((tmp_path / "config.yaml").read_text())["trainer"]
    shipped = yaml.safe_load((SHIPPED_CONFIGS / trainer).read_text())["trainer"]
    kept = shipped.keys() - {"accelerator", "devices", "num_nodes"}
    assert {key: ran[key] for key in kept} == {key: shipped[key] for key in kept}
    printed = with_short_names(wemoe_pl(*job, "--print_config").out)["trainer"]
    assert {key: printed[key] for key in shipped} == shipped


def with_short_names(config: str) -> dict[str, Any]:
    """A resolved config, in which classes are named as in those that are shipped."""
    resolved: dict[str, Any] = yaml.safe_load(re.sub(r"(class_path: )[\w.]+\.", r"\1", config))
    return resolved


@pytest.mark.parametrize("suite", SUITES, ids=lambda path: path.name)
def test_every_shipped_suite_can_be_read_and_is_whole(suite: Path) -> None:
    described = read_suite(str(suite))
    assert set(described.experts) == set(described.tasks)
    assert set(described.heads) | set(described.tasks_with_made_heads) == set(described.tasks)


def test_a_run_can_be_scored_again_and_repeated_from_what_it_leaves(
    wemoe_pl: Command, adapt: tuple[str], tmp_path: Path
) -> None:
    first, scored, repeated, unadapted = (tmp_path / name for name in "abcd")
    saved = ("--config", first / "config.yaml")
    checkpoint = ("--ckpt_path", first / "checkpoints" / "last.ckpt")
    learn = ("--model.learning_rate", "0.5")
    assert wemoe_pl("fit", *adapt, *TWO_STEPS, *learn, "--out", first).status == 0
    assert wemoe_pl("test", *saved, *checkpoint, "--out", scored).status == 0
    assert wemoe_pl("fit", *saved, "--out", repeated).status == 0
    assert wemoe_pl("test", *saved, "--ckpt_path", "none", "--out", unadapted).status == 0
    for key in ("accuracy", "calibration_error", "reference", "sources"):
        assert results(scored)[key] == results(first)[key] == results(repeated)[key]
    assert results(unadapted)["calibration_error"] != results(first)["calibration_error"]


@pytest.mark.slow
def test_adapters_are_trained_merged_resumed_exported_and_loaded_like_other_experts(
    wemoe_pl: Command, tiny_suite_yaml: Path, tmp_path: Path
) -> None:
    tasks, suite = ("cars", "dtd"), yaml.safe_load(tiny_suite_yaml.read_text())
    few = ("--trainer.max_steps", "2", "--data.batch_size", "4", *QUIET)
    for task in tasks:
        train = ("fit", "--config", "finetune_miniature", "--config", "lora", "--task", task)
        out = tmp_path / "experts" / task
        answer = wemoe_pl(*train, "--suite", tiny_suite_yaml, *few, "--out", out)
        assert answer.status == 0, answer.err
        suite["experts"][task] = str(out)
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump(suite))
    adapt = ("fit", "--config", "adapt_miniature", "--suite", own, "--tasks", "[cars,dtd]", *few)
    run = tmp_path / "run"
    assert wemoe_pl(*adapt, "--trainer.max_steps", "1", "--out", run).status == 0
    assert wemoe_pl(*adapt, "--ckpt_path", "last", "--out", run).status == 0
    assert results(run)["sources"]["experts/cars"]["source"] == suite["experts"]["cars"]
    random_image(28, 28).save(tmp_path / "some.png")
    answers = []
    for form in ("adapter", "bundle"):
        out = tmp_path / form
        assert wemoe_pl("export", run, "--format", form, "--out", out).status == 0
        answer = wemoe_pl("predict", out, tmp_path / "some.png", "--task", "cars")
        assert answer.status == 0, answer.err
        answers.append(answer.out)
    assert answers[0] == answers[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("left_by", "commands"), [("fit", ["validate", "predict"]), ("test", ["fit", "predict"])]
)
def test_any_command_takes_the_config_that_a_run_leaves(
    left_by: str, commands: list[str], wemoe_pl: Command, adapt: tuple[str], tmp_path: Path
) -> None:
    quick = (*TWO_STEPS, "--model.references", "false")
    assert wemoe_pl(left_by, *adapt, *quick, "--out", tmp_path / "run").status == 0
    saved = ("--config", tmp_path / "run" / "config.yaml")
    random_image(32, 32).save(tmp_path / "some.png")
    images = ("--data.images", tmp_path / "some.png")
    for command in commands:
        more = images if command == "predict" else ()
        answer = wemoe_pl(command, *saved, *more, "--out", tmp_path / command)
        assert (answer.status, answer.err) == (0, "")


@pytest.mark.slow
def test_another_run_replaces_the_first_of_a_folder_only_when_asked(
    wemoe_pl: Command, adapt: tuple[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    job = ("fit", *adapt, *TWO_STEPS, "--out", out)
    assert wemoe_pl(*job, "--model.learning_rate", "0.1").status == 0
    refused = wemoe_pl(*job, "--model.learning_rate", "0.2")
    assert refused.status == 1
    assert "learning_rate was 0.1 and is now 0.2. Give another --out, such as" in refused.err
    assert wemoe_pl(*job, "--model.learning_rate", "0.2", "--fresh").status == 0
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["last.ckpt"]
    checkpoint = ("--ckpt_path", "last")
    assert wemoe_pl("test", *adapt, *checkpoint, "--out", out).status == 0
    scored = results(out / "test")["calibration_error"]
    assert scored == results(out)["calibration_error"]


@pytest.mark.slow
def test_scoring_in_the_folder_of_a_run_leaves_its_config_and_logs(
    wemoe_pl: Command, adapt: tuple[str], tmp_path: Path
) -> None:
    assert wemoe_pl("fit", *adapt, *TWO_STEPS, "--out", tmp_path).status == 0
    kept = {name: (tmp_path / name).read_text() for name in ("config.yaml", "logs/metrics.csv")}
    for command in ("test", "validate"):
        assert wemoe_pl(command, *adapt, "--ckpt_path", "last", "--out", tmp_path).status == 0
    assert {name: (tmp_path / name).read_text() for name in kept} == kept


def test_validation_prints_a_table_and_writes_no_results(
    wemoe_pl: Command, adapt: tuple[str], tmp_path: Path
) -> None:
    answer = wemoe_pl("validate", *adapt, "--out", tmp_path)
    assert answer.status == 0
    assert all(task in answer.out for task in ("cars", "dtd", "mnist", "mean"))
    assert not (tmp_path / "results.json").exists()


def test_a_run_prints_one_table_and_no_noise(
    wemoe_pl: Command, adapt: tuple[str], tmp_path: Path
) -> None:
    answer = wemoe_pl("fit", *adapt, *TWO_STEPS, "--out", tmp_path)
    assert answer.out.count("Accuracy on tiny, %") == 1
    assert "DataLoader" not in answer.out
    assert answer.err == ""


@pytest.mark.parametrize(("only", "tasks"), [((), 3), (("--task", "cars"), 1)])
def test_images_in_a_folder_are_classified_by_all_tasks_or_one(
    wemoe_pl: Command, adapt: tuple[str], pictures: Path, tmp_path: Path,
    only: tuple[str, ...], tasks: int,
) -> None:  # fmt: skip
    out = tmp_path / "out"
    answer = wemoe_pl("predict", *adapt, *only, "--data.images", pictures, "--out", out)
    header, *lines = (out / "predictions.csv").read_text().splitlines()
    assert header == "image,task,class,probability,task_confidence,error"
    assert len(lines) == 3 * tasks
    assert f"{3 * tasks} predictions are in" in answer.out
    assert [path.name for path in out.iterdir()] == ["predictions.csv"]


def test_tasks_are_inferred_and_answers_are_written_as_parquet(
    wemoe_pl: Command, adapt: tuple[str], pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    inferred = ("--model.infer_task", "entropy", "--predictions.file", "answers.parquet")
    pattern = ("--data.images", pictures / "[01].png")
    assert wemoe_pl("predict", *adapt, *inferred, *pattern, "--out", out).status == 0
    rows = pq.read_table(out / "answers.parquet").to_pylist()
    assert [Path(row["image"]).name for row in rows] == ["0.png", "1.png"]
    assert all(0 < row["task_confidence"] <= 1 for row in rows)


def test_images_of_none_of_the_tasks_have_a_row_without_a_task(
    wemoe_pl: Command, adapt: tuple[str], pictures: Path, tmp_path: Path,
) -> None:  # fmt: skip
    run, job = tmp_path / "run", ("--model.infer_task", "entropy", "--data.images", pictures)
    assert wemoe_pl("fit", *adapt, *TWO_STEPS, "--out", run).status == 0
    results = json.loads((run / "results.json").read_text())
    calibrated = results["unknown_task"]["entropy"]["threshold"]
    assert calibrated
    assert all(0 < least < 1 for least in calibrated.values())
    config = ("--config", run / "config.yaml")
    for least, answered in ((0.0, 3), (1.0, 0)):
        results["unknown_task"]["entropy"]["threshold"] = dict.fromkeys(results["tasks"], least)
        (run / "results.json").write_text(json.dumps(results))
        out = tmp_path / f"out-{least}"
        assert wemoe_pl("predict", *config, *job, "--out", out).status == 0
        with (out / "predictions.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 3
        for column in ("task", "class", "probability"):
            assert sum(row[column] != "" for row in rows) == answered
        assert all(row["task_confidence"] and not row["error"] for row in rows)


@pytest.mark.slow
def test_a_predict_that_was_killed_goes_on(
    wemoe_pl: Command, adapt: tuple[str], pictures: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    command = ("predict", *adapt, "--data.images", pictures, "--data.test_batch_size", "1")
    assert wemoe_pl(*command, "--out", tmp_path / "whole").status == 0
    answered = []

    def dies(self: MultiTaskModule, batch: NamedBatch, batch_idx: int) -> Any:
        answered.append(batch.first)
        if answered == [0, 1]:
            signal.raise_signal(signal.SIGTERM)
        return predict_step(self, batch, batch_idx)

    predict_step = MultiTaskModule.predict_step
    monkeypatch.setattr(MultiTaskModule, "predict_step", dies)
    assert wemoe_pl(*command, "--out", tmp_path / "killed").status == 128 + signal.SIGTERM
    assert not (tmp_path / "killed" / "predictions.csv").exists()
    assert wemoe_pl(*command, "--out", tmp_path / "killed").status == 0
    assert answered == [0, 1, 1, 2]
    assert "Going on: 1 of 3 batches are answered already" in caplog.text
    for out in ("whole", "killed"):
        assert not list((tmp_path / out).glob("predictions.csv.*"))
    whole, killed = (tmp_path / out / "predictions.csv" for out in ("whole", "killed"))
    assert killed.read_text() == whole.read_text()


def test_answers_to_another_question_are_not_gone_on_from(
    wemoe_pl: Command, adapt: tuple[str], pictures: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    command = ("predict", *adapt, "--data.images", pictures, "--out", tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(Predictions, "finish", Mock(side_effect=Stopped(signal.SIGTERM)))
        assert wemoe_pl(*command, "--task", "cars").status == 128 + signal.SIGTERM
    assert wemoe_pl(*command, "--task", "dtd").status == 0
    assert "cars" not in (tmp_path / "out" / "predictions.csv").read_text()
    [left] = (tmp_path / "out").glob("predictions.csv.*")
    Image.new("RGB", (28, 28)).save(pictures / "3.png")
    assert wemoe_pl(*command, "--task", "cars").status == 0
    assert len((tmp_path / "out" / "predictions.csv").read_text().splitlines()) == 5
    assert left.is_dir()


def test_shipped_configs_are_found_from_any_folder(
    wemoe_pl: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("adapt_miniature", "adapt_miniature.yaml"):
        answer = wemoe_pl("fit", "--config", name, "--print_config")
        assert yaml.safe_load(answer.out)["suite"]["name"] == "miniature"
    assert not list(tmp_path.iterdir())


def test_later_configs_and_options_win(wemoe_pl: Command, tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("trainer: {max_steps: 7, min_steps: 3}")
    answer = wemoe_pl(
        "fit", "--config", "adapt_miniature", "--config", tmp_path / "more.yaml",
        "--trainer.max_steps", "9", "--print_config",
    )  # fmt: skip
    printed = yaml.safe_load(answer.out)
    assert (printed["trainer"]["max_steps"], printed["trainer"]["min_steps"]) == (9, 3)
    assert printed["model"]["init_args"]["merge"]["init_args"]["router_depth"] == 2


OF_NO_JOB = (
    "advise",
    "sweep",
    "report",
    "bench",
    "completion",
    "export",
    "serve",
    "workspace",
)  # these read no job's config


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_fits_a_screen_and_names_the_shipped_configs(
    wemoe_pl: Command, command: list[str]
) -> None:
    answer = wemoe_pl(*command, "--help")
    assert answer.status == 0
    assert len(answer.out.splitlines()) <= 50
    assert answer.out.startswith(f"usage: wemoe-pl {' '.join(command)}".rstrip())
    if command and command[0] in OF_NO_JOB:
        return
    names = [name.removesuffix(".yaml") for name in shipped_configs()]
    for known in (*names, "--config", "--model.help", "--print_config"):
        assert known in answer.out
    assert COMMANDS[command[0] if command else "fit"] in " ".join(answer.out.split())


def test_the_options_of_a_class_are_described(wemoe_pl: Command) -> None:
    answer = wemoe_pl("fit", "--model.help", "TestTimeAdaptation")
    assert "--model.diversity DIVERSITY" in answer.out


# Mistakes


@pytest.mark.parametrize(
    ("mistake", "fragments"),
    [
        ("--trainer.max_step 2", ["no key 'trainer.max_step'", "'trainer.max_steps'?"]),
        ("--trianer.max_steps 2", ["no key 'trianer.max_steps'", "'trainer.max_steps'?"]),
        ("--model.merg WEMoE", ["no key 'merg'", "mean 'merge'?"]),
        ("--model.merge.init_lamda 1", ["no key 'init_lamda'", "mean 'init_lambda'?"]),
        ("--model TestTimeAdaption", ["no class 'TestTimeAdaption'", "'TestTimeAdaptation'?"]),
        ("--model.merge WEMoW", ["no class 'WEMoW'", "mean 'WEMoE'?"]),
        ("--data MultiTasksData", ["no class 'MultiTasksData'", "mean 'MultiTaskData'?"]),
        ("--task crs", ["no task 'crs'", "mean 'cars'?"]),
        ("--model.merge.init_lambda 1.5", ["init_lambda", "is 1.5", "from 0 to 1"]),
        ("--model.merge.init_lambda=-0.1", ["init_lambda", "is -0.1", "from 0 to 1"]),
        ("--model.merge.init_lambda high", ["init_lambda", "expected float, got 'high'"]),
        ("--model.merge.router_depth 3", ["router_depth is 3: choose 0, 1 or 2"]),
        ("--model.learning_rate 0", ["learning_rate is 0.0", "above 0"]),
        ("--model.diversity=-1", ["diversity is -1.0", "from 0"]),
        ("--model.diversity 1 --model.reliable 3", ["reliable is 3.0", "up to 1"]),
        ("--model.objective Entropi", ["no class 'Entropi'", "mean 'Entropy'?"]),
        (
            "--model.objective InformationMaximisation --model.diversity 1",
            ["diversity is 1.0", "objective is InformationMaximisation", "leave out"],
        ),
        ("--model.references maybe", ["references", "expected bool, got 'maybe'"]),
        ("--data.batch_size 0", ["batch_size is 0", "from 1"]),
        ("--data.num_workers=-1", ["num_workers is -1", "from 0"]),
        ("--data.stream tset", ["data.stream", "'tset'", "Did you mean 'test'?"]),
        ("--trainer.max_steps x", ["trainer.max_steps: expected int, got 'x'"]),
        ("--trainer.max_steps=-5", ["max_steps", "-5"]),
        ("--task cars", ["--task has no effect on this job", "fine-tuning", "predict"]),
        ("--trainer.val_check_interval 0", ["val_check_interval is 0", "from 1"]),
        ("--trainer.accelerator abacus", ["accelerator='abacus'", "cpu"]),
        ("--trainer.devices 0", ["devices='0'"]),
        ("--trainer.devices 2 --trainer.strategy ddp_spawn", ["trainer.strategy", "choose ddp"]),
        ("--seed_everything=-1", ["seed_everything is -1", "from 0 to 4294967295"]),
        ("--seed_everything 4294967296", ["seed_everything is 4294967296", "to 4294967295"]),
        ("--seed_everything true", ["seed_everything is True", "can be repeated"]),
        ("--seed_everything x", ["seed_everything", "int", "got 'x'"]),
        ("--suite nowhere.yaml", ["no suite 'nowhere.yaml'", "clip_vitb32"]),
        ("--config nowhere", ["no config 'nowhere'", "valid names, from 'adamerging_layer_wise'"]),
        ("--ckpt_path nowhere.ckpt", ["no checkpoint nowhere.ckpt"]),
        ("stray", ["stray"]),
    ],
)
def test_a_mistake_on_the_command_line_is_answered_in_one_sentence(
    wemoe_pl: Command, adapt: tuple[str], tmp_path: Path, mistake: str, fragments: list[str]
) -> None:
    out = tmp_path / "out"
    assert_refused(wemoe_pl("fit", *adapt, "--out", out, *mistake.split()), out, *fragments)


@pytest.mark.parametrize(
    ("right", "wrong", "fragments"),
    [
        ("objective: ", "objectiv: ", ["no key 'objectiv'", "mean 'objective'?", "job.yaml"]),
        ("class_path: Entropy", "class_path: Entropie", ["no class 'Entropie'", "mean 'Entropy'?"]),
        ("init_lambda: ", "init_lamda: ", ["no key 'init_lamda'", "mean 'init_lambda'?"]),
        ("\ntrainer:", "\ntrianer:", ["no key 'trianer.", "mean 'trainer."]),
        ("max_steps: ", "max_step: ", ["no key 'trainer.max_step'", "'trainer.max_steps'?"]),
        ("\nseed_everything: 0", "\nseed_everything: -3", ["seed_everything is -3"]),
        ("class_path: WEMoE", "class_path: WEMoEs", ["no class 'WEMoEs'", "mean 'WEMoE'?"]),
        ("batch_size: ", "batch_size: many #", ["batch_size", "expected int, got 'many'"]),
        ("\nmodel:", "\n[model:", ["job.yaml: not valid YAML near line"]),
    ],
)
def test_a_mistake_in_a_config_is_answered_in_one_sentence(
    wemoe_pl: Command, tmp_path: Path, right: str, wrong: str, fragments: list[str]
) -> None:
    job, out = tmp_path / "job.yaml", tmp_path / "out"
    shutil.copytree(SHIPPED_CONFIGS / "suites", tmp_path / "suites")
    text = (SHIPPED_CONFIGS / "adapt_miniature.yaml").read_text()
    assert right in text
    job.write_text(text.replace(right, wrong, 1))
    assert_refused(wemoe_pl("fit", "--config", job, "--out", out), out, *fragments)


@pytest.mark.parametrize(
    ("right", "wrong", "fragments"),
    [
        (": MiniatureTask", ": MinatureTask", ["'MinatureTask'", "mean 'MiniatureTask'?"]),
        ("name: cars", "name: carz", ["no miniature task 'carz'", "mean 'cars'?"]),
        ("test_size: ", "tst_size: ", ["no key 'tst_size'", "mean 'test_size'?"]),
        ("pretrained: ", "pretraned: ", ["no key 'pretraned'", "pretrained'?"]),
        ("\nheads:\n  cars:", "\nheads:\n  crs:", ["no task 'crs'", "mean 'cars'?"]),
    ],
)  # fmt: skip
def test_a_mistake_in_a_suite_is_answered_in_one_sentence(
    wemoe_pl: Command, tiny_suite_yaml: Path, tmp_path: Path,
    right: str, wrong: str, fragments: list[str],
) -> None:  # fmt: skip
    suite, out = tmp_path / "suite.yaml", tmp_path / "out"
    assert right in tiny_suite_yaml.read_text()
    suite.write_text(tiny_suite_yaml.read_text().replace(right, wrong, 1))
    answer = wemoe_pl("fit", "--config", "adapt_miniature", "--suite", suite, "--out", out)
    assert_refused(answer, out, *fragments)


@pytest.mark.parametrize("contents", ["", "- a\n- b\n", "just words"])
def test_a_file_that_is_no_config_is_named(
    wemoe_pl: Command, tmp_path: Path, contents: str
) -> None:
    (tmp_path / "odd.yaml").write_text(contents)
    answer = wemoe_pl("fit", "--config", tmp_path / "odd.yaml", "--out", tmp_path / "out")
    assert_refused(answer, tmp_path / "out", "odd.yaml: It is not a config", "`key: value`")


@pytest.mark.parametrize(
    ("command", "fragments"),
    [
        ([], ["Give a command: fit, validate, test, predict"]),
        (["fti"], ["no command 'fti'", "mean 'fit'?"]),
        (["fit"], ["No suite was given", "--config NAME"]),
        (["fit", "--config"], ["--config", "expected one argument"]),
        (["fit", "--config", "adapt_miniatur"], ["mean 'adapt_miniature'?"]),
    ],
)
def test_a_command_that_is_not_complete_says_what_is_missing(
    wemoe_pl: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    command: list[str], fragments: list[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert_refused(wemoe_pl(*command), tmp_path, *fragments)


def test_a_suite_without_a_model_is_not_enough(
    wemoe_pl: Command, tiny_suite_yaml: Path, tmp_path: Path
) -> None:
    answer = wemoe_pl("fit", "--suite", tiny_suite_yaml, "--out", tmp_path)
    assert_refused(answer, tmp_path, "was given: start from a config, with --config NAME")


@pytest.mark.parametrize("command", ["fit", "test"])
def test_a_folder_that_cannot_be_written_to_is_refused_before_the_work(
    wemoe_pl: Command, adapt: tuple[str], tmp_path: Path, command: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / "file" / "out"
    assert_refused(wemoe_pl(command, *adapt, "--out", out), out, str(out), "another with --out")
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize("contents", [b"", b"text", b"PK\x03\x04 cut off"])
def test_a_damaged_checkpoint_is_named(
    wemoe_pl: Command, adapt: tuple[str], tmp_path: Path, contents: bytes
) -> None:
    (tmp_path / "bad.ckpt").write_bytes(contents)
    out = tmp_path / "out"
    answer = wemoe_pl("test", *adapt, "--out", out, "--ckpt_path", tmp_path / "bad.ckpt")
    assert_refused(answer, out, "bad.ckpt is damaged or not a checkpoint")


def test_a_checkpoint_of_routers_of_another_depth_is_refused(
    wemoe_pl: Command, adapt: tuple[str], tmp_path: Path
) -> None:
    first, out = tmp_path / "first", tmp_path / "out"
    assert wemoe_pl("fit", *adapt, *TWO_STEPS, "--out", first).status == 0
    checkpoint = first / "checkpoints" / "last.ckpt"
    shallow = ("--model.merge.router_depth", "1")
    answer = wemoe_pl("test", *adapt, *shallow, "--out", out, "--ckpt_path", checkpoint)
    assert answer.status == 1
    assert "does not fit WEMoE as configured: " in answer.err
    assert not (out / "results.json").exists()


def test_a_static_merge_cannot_be_fitted(
    wemoe_pl: Command, tiny_suite_yaml: Path, tmp_path: Path
) -> None:
    answer = wemoe_pl(
        "fit", "--config", "task_arithmetic", "--suite", tiny_suite_yaml,
        "--out", tmp_path, *TWO_STEPS, *QUIET,
    )  # fmt: skip
    assert answer.status == 1
    assert "nothing to adapt: score it with `wemoe-pl test`" in answer.err
    assert not (tmp_path / "results.json").exists()


@pytest.mark.parametrize("workers", ["0", "1"])
def test_images_that_cannot_be_read_are_counted_and_have_rows_that_say_why(
    wemoe_pl: Command, adapt: tuple[str], pictures: Path, tmp_path: Path, workers: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    (pictures / "0.jpg").write_text("no picture")
    options = ("--data.images", pictures, "--data.num_workers", workers, "--task", "cars")
    answer = wemoe_pl("predict", *adapt, *options, "--out", tmp_path / "out")
    assert answer.status == 0
    counted = "1 of 4 images cannot be read, and have rows that say why:"
    assert caplog.messages[-1] == f"{counted} {pictures}/0.jpg."
    assert "3 predictions are in" in answer.out
    _, bad, *good = (tmp_path / "out" / "predictions.csv").read_text().splitlines()
    assert bad.startswith(f'{pictures}/0.jpg,,,,,"{pictures}/0.jpg is not a readable image: it is')
    assert len(good) == 3


def test_a_folder_of_nothing_but_damaged_images_is_an_error(
    wemoe_pl: Command, adapt: tuple[str], tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_text("no picture")
    answer = wemoe_pl("predict", *adapt, "--data.images", tmp_path, "--out", tmp_path / "out")
    assert answer.status == 1
    bad = f"{tmp_path}/a.png"
    assert answer.err.startswith(
        f"wemoe-pl: None of the images can be read: {bad}. {bad} is not a "
    )
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "out").exists()  # there is nothing to leave


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "There is nothing to predict: give a folder, a pattern or parquet files with"),
        (["--data.images", "nowhere"], "There is no folder or file nowhere"),
        (["--data.images", "nowhere/*.jpg"], "No file matches 'nowhere/*.jpg'"),
        (["--task", "crs"], "The suite 'tiny' has no task 'crs'. Did you mean 'cars'?"),
        (["--predictions.file", "a.xls"], "predictions.file is a.xls: give a name that ends in"),
    ],
)
def test_prediction_needs_images_a_task_and_a_table(
    wemoe_pl: Command, adapt: tuple[str], tmp_path: Path, options: list[str], sentence: str
) -> None:
    answer = wemoe_pl("predict", *adapt, *options, "--out", tmp_path)
    assert answer.status == 1
    assert answer.err.startswith(f"wemoe-pl: {sentence}")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(28, "No space left on device", "x.csv"), "x.csv: No space left on device."),
        (OSError("the disk is gone"), "the disk is gone"),
        (DataError(FROM_A_WORKER), "1 of 4 images cannot be decoded: a.png."),
    ],
)
def test_what_happens_to_a_run_from_outside_is_said_in_one_line(
    wemoe_pl: Command, monkeypatch: pytest.MonkeyPatch, error: BaseException, sentence: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(verbs, "run_job", fail)
    assert wemoe_pl("fit") == (1, "", f"wemoe-pl: {sentence}\n")


def test_a_command_that_is_stopped_says_so_and_ends_as_shells_expect(
    wemoe_pl: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verbs, "run_job", lambda *_: signal.raise_signal(signal.SIGINT))
    said = "wemoe-pl: Stopped by SIGINT; nothing was left half-written.\n"
    assert wemoe_pl("fit") == (130, "", said)


def test_what_is_not_here_is_told_with_the_command_that_fetches_it(
    wemoe_pl: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise UnreachableError("An expert is not in the cache.")

    monkeypatch.setattr(verbs, "run_job", fail)
    answer = wemoe_pl("fit", "--config", "adapt_vitb32", "--out", "my runs")
    fetch = "wemoe-pl prepare --config adapt_vitb32 --out 'my runs'"
    assert answer.err == (
        "wemoe-pl: An expert is not in the cache. "
        f"Where there is a network, `{fetch}` fetches it in advance.\n"
    )


# What the shipped files look like


@pytest.mark.parametrize("config", [*shipped_configs(), *shipped_trainers()])
def test_every_key_of_a_shipped_config_has_a_comment(config: str) -> None:
    """Above it, at its own depth. What only opens a section or names a class needs none."""
    lines = (SHIPPED_CONFIGS / config).read_text().splitlines()
    bare = [
        line.strip()
        for above, line in pairwise(lines)
        if (key := re.match(r"( *)(\w+): \S", line))
        and key[2] not in ("class_path", "init_args")
        and not above.startswith(f"{key[1]}# ")
    ]
    assert not bare, "Write a comment above each of these keys, at its own depth."


@pytest.mark.parametrize("suite", SUITES, ids=lambda path: path.name)
def test_every_part_of_a_shipped_suite_has_a_comment(suite: Path) -> None:
    blocks = suite.read_text().split("\n\n")[1:]
    assert all(block.startswith(("# ", "name: ")) for block in blocks)


# A suite given as a whole


@pytest.mark.parametrize("first", [True, False], ids=["before the config", "after it"])
def test_a_whole_suite_replaces_that_of_the_config(
    wemoe_pl: Command, tmp_path: Path, first: bool
) -> None:
    suite = tmp_path / "mine.yaml"
    suite.write_text(
        "{name: mine, backbone: {model: vit_tiny_patch16_224}, pretrained: a.safetensors, "
        "tasks: {pets: {class_path: ImageFolderTask, init_args: {test: pets}}}}"
    )
    config, whole = ["--config", "finetune_vitb32"], ["--suite", suite]
    given = [*whole, *config] if first else [*config, *whole]
    answer = wemoe_pl("fit", *given, "--task", "pets", "--print_config")
    printed = yaml.safe_load(answer.out)["suite"]
    assert list(printed["tasks"]) == ["pets"]
    assert (printed["experts"], printed["text_tower"]) == ({}, None)
    assert printed["backbone"] == {"model": "vit_tiny_patch16_224", "options": {}}


def test_a_key_of_a_suite_changes_only_that_key(wemoe_pl: Command) -> None:
    answer = wemoe_pl(
        "fit", "--config", "adapt_vitb32", "--suite.experts.dtd", "mine", "--print_config"
    )
    experts = yaml.safe_load(answer.out)["suite"]["experts"]
    assert experts["dtd"] == "mine"
    assert len(experts) == 8


@pytest.mark.usefixtures("as_a_user_would")
def test_zero_shot_heads_are_built_by_hand(wemoe_pl: Command, tmp_path: Path) -> None:
    job = ["--config", "adapt_vitb32.yaml", *tiny_clip("adapt_vitb32.yaml"), "--task", "mnist"]
    answer = wemoe_pl("heads", *job, "--out", tmp_path / "heads")
    assert answer.status == 0, answer.err
    assert load_head(str(tmp_path / "heads" / "mnist.safetensors")).classes == tuple("0123456789")


def test_heads_that_nothing_makes_are_not_built(wemoe_pl: Command, tmp_path: Path) -> None:
    answer = wemoe_pl("heads", "--config", "adapt_miniature", "--out", tmp_path)
    assert answer.status == 1
    assert "'miniature' has no zero-shot heads" in answer.err
