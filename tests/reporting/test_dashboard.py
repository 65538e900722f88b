"""What a run leaves in Weights & Biases, read back, and in TensorBoard."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import wandb
import yaml
from helpers.wandb_records import Recorded, read_back
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from wemoe_pl.callbacks.collapse_guard import CollapseGuard
from wemoe_pl.cli.main import main
from wemoe_pl.reporting.dashboard import Dashboard, accuracy_by_task, caption, normalized_curve
from wemoe_pl.system.configs import SHIPPED_CONFIGS
from wemoe_pl.training.evaluation import Sample

TASKS = ("cars", "dtd", "mnist")
LEAST = ("entropy", "gradient_norm", "learning_rate")  # of which the least value is the best
METRICS = ("train", "val", "test", "routing")
EVERY = ("--trainer.val_check_interval", "10", "--trainer.log_every_n_steps", "5")


def run(*arguments: str | Path) -> None:
    """A command to its end, with what W&B recorded on the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["wemoe-pl"])
        try:
            assert main([*map(str, arguments), "--quiet"]) == 0
        finally:
            wandb.teardown()
            torch.use_deterministic_algorithms(False)


def results_of(folder: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return results


def job(suite: Path, out: Path, steps: int) -> tuple[str | Path, ...]:
    return (
        *("fit", "--config", "adapt_miniature", "--config", "wandb", "--suite", suite),
        *("--trainer.max_steps", str(steps), "--data.batch_size", "4", "--out", out, *EVERY),
    )


@pytest.fixture(scope="module")
def out(tiny_suite_yaml: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of the main job with wandb.yaml, offline."""
    folder = tmp_path_factory.mktemp("dashboard")
    run(*job(tiny_suite_yaml, folder, 20))
    return folder


@pytest.fixture(scope="module")
def recorded(out: Path) -> Recorded:
    return read_back(out)


def test_a_run_is_found_among_others(recorded: Recorded) -> None:
    told = {key: recorded.run[key] for key in ("project", "group", "job_type", "tags")}
    tags = ["vit_tiny_patch16_224", "WEMoE"]
    assert told == {"project": "wemoe-pl", "group": "tiny", "job_type": "adapt", "tags": tags}


def test_the_config_is_the_whole_resolved_one_once(recorded: Recorded, out: Path) -> None:
    written = yaml.safe_load((out / "config.yaml").read_text())
    assert {key: recorded.config[key] for key in written} == written
    assert recorded.config.keys() - written.keys() == {"run", "_wandb"}


def test_what_exactly_was_run_is_told(recorded: Recorded, out: Path) -> None:
    results, told = results_of(out), recorded.config["run"]
    for key in ("sources", "versions", "parameters", "seed", "command", "revision"):
        assert told[key] == results[key]
    assert told["dictionary_bytes"] == 3 * 4 * 2 * (2 * 16 * 64 + 64 + 16)


@pytest.mark.parametrize(
    "key",
    [
        *("train/entropy", "train/learning_rate", "train/gradient_norm", "train/images_per_second"),
        *(f"train/entropy/{task}" for task in TASKS),
        *(f"train/diversity/{task}" for task in TASKS),
    ],
)
def test_training_is_a_curve_over_steps(recorded: Recorded, key: str) -> None:
    assert [step for step, _ in recorded.curve(key)] == [4, 9, 14, 19]


@pytest.mark.parametrize("name", ["acc", "information", "diversity"])
def test_validations_are_curves_over_steps(recorded: Recorded, name: str) -> None:
    for key in (f"val/{name}", *(f"val/{name}/{task}" for task in TASKS)):
        assert [step for step, _ in recorded.curve(key)] == [9, 19]


def test_the_normalized_mean_is_a_curve_once_the_experts_are_known(
    recorded: Recorded, out: Path
) -> None:
    individual = results_of(out)["reference"]["individual"]
    curve = dict(recorded.curve("val/normalized_mean"))
    assert list(curve) == [9, 19]
    for step, value in curve.items():
        ratios = [
            dict(recorded.curve(f"val/acc/{task}"))[step] / individual[task]
            for task in TASKS
            if individual[task]
        ]
        assert value == pytest.approx(sum(ratios) / len(ratios))


def test_every_metric_has_the_step_as_its_axis_and_its_last_and_best_as_summary(
    recorded: Recorded,
) -> None:
    logged = {key for row in recorded.history for key in row if key.split("/")[0] in METRICS}
    assert {f"{part}/acc" for part in ("val", "test")} <= logged
    for key in logged:
        best = "min" if key.split("/")[1] in LEAST else "max"
        expected = {"step": "trainer/global_step", "summary": {"last", best}}
        assert {name: recorded.metrics[key][name] for name in expected} == expected


def shown(recorded: Recorded) -> list[str]:
    """The panels that W&B makes by itself: of all keys that are not hidden, and of charts."""
    logged = {key for row in recorded.history for key in row if key[0] != "_"}
    hidden = {key for key, about in recorded.metrics.items() if about["hidden"]}
    charts = recorded.config["_wandb"]["visualize"]
    return sorted((logged - hidden - {"trainer/global_step"}) | charts.keys())


def test_there_are_few_panels_however_many_tasks_there_are(recorded: Recorded) -> None:
    keys = shown(recorded)
    assert len(keys) <= 30
    assert not [key for key in keys if key.rpartition("/")[2] in TASKS]
    sections = {key.partition("/")[0] for key in keys}
    assert sections == {
        "train", "val", "media", "report",
        "Is it adapting?", "Who is routed where?", "Is anything collapsing?", "What was run?",
    }  # fmt: skip


def test_no_curve_that_is_shown_is_a_single_point(recorded: Recorded) -> None:
    for key in shown(recorded):
        values = [value for _, value in recorded.curve(key)]
        assert len(values) != 1 or not isinstance(values[0], float | int), key


def test_the_tasks_are_drawn_together_and_figures_are_in_one_table(
    recorded: Recorded, out: Path
) -> None:
    for name in ("entropy", "accuracy"):
        [(step, _)] = recorded.curve(f"Is it adapting?/{name} by task_table")
        assert step == 20
    [(_, samples)] = recorded.curve("What was run?/samples")
    assert [text.split(": ")[0] for text in samples["captions"]] == sorted(
        task for task in TASKS for _ in range(len(samples["captions"]) // 3)
    )
    [(_, table)] = recorded.curve("What was run?/figures by task")
    [kept] = out.glob(f"wandb/offline-run-*/files/{table['path']}")
    about, results = json.loads(kept.read_text()), results_of(out)
    assert [row[0] for row in about["data"]] == list(TASKS)
    for title, key in (("information", "information"), ("classes predicted", "diversity")):
        place = about["columns"].index(title)
        assert [row[place] for row in about["data"]] == [results[key][task] for task in TASKS]
    assert [s for s, _ in recorded.curve("Who is routed where?/routing by block")] == [10, 20]


def test_summaries_are_those_of_the_results(recorded: Recorded, out: Path) -> None:
    results = results_of(out)
    assert recorded.summary["report/mean"] == results["mean"]
    assert recorded.summary["report/normalized_mean"] == results["normalized_mean"]


@pytest.mark.parametrize("key", [f"routing_map/{task}" for task in TASKS])
def test_routing_is_shown_at_every_validation(recorded: Recorded, key: str) -> None:
    shown = recorded.curve(key)
    assert [step for step, _ in shown] == [10, 20]
    assert all(value["_type"].startswith("image") for _, value in shown)


@pytest.mark.parametrize(
    "stem", ["accuracy", "adaptation", "routing", "routing_share", "confusion"]
)
def test_the_pictures_of_the_run_are_shown_once(recorded: Recorded, out: Path, stem: str) -> None:
    [(step, value)] = recorded.curve(f"media/{stem}")
    assert step == 20
    [kept] = out.glob(f"wandb/offline-run-*/files/{value['filenames'][0]}")
    assert kept.read_bytes() == (out / f"{stem}.png").read_bytes()


@pytest.mark.parametrize("task", TASKS)
def test_samples_have_their_prediction_and_routing_as_captions(
    recorded: Recorded, task: str
) -> None:
    [(_, value)] = recorded.curve(f"samples/{task}")
    assert value["captions"]
    for text in value["captions"]:
        assert "%" in text
        assert sum(expert in text for expert in TASKS) == 3


def test_tables_hold_accuracy_and_routing(recorded: Recorded) -> None:
    [(_, accuracy)] = recorded.curve("report/accuracy")
    assert (accuracy["_type"], accuracy["nrows"]) == ("table-file", 3)
    [(_, routing)] = recorded.curve("report/routing")
    assert routing["nrows"] == 3 * 2 * 3


def test_the_routers_are_an_artifact_and_not_the_frozen_model(
    recorded: Recorded, out: Path
) -> None:
    [artifact] = [each for each in recorded.artifacts if each["type"] == "routers"]
    size = (out / "checkpoints" / "last.ckpt").stat().st_size
    assert artifact["files"] == {"last.ckpt": size}
    assert artifact["aliases"] == ["latest"]
    sources = artifact["metadata"]["sources"]
    assert {"pretrained", *(f"experts/{task}" for task in TASKS)} <= set(sources)
    assert all(len(source["sha256"]) == 64 for source in sources.values())


@pytest.mark.slow
def test_a_resumed_run_goes_on_in_the_same_one(tiny_suite_yaml: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoints" / "last.ckpt"
    run(*job(tiny_suite_yaml, tmp_path, 20), "--trainer.limit_val_batches", "1")
    first = read_back(tmp_path)
    for folder in (tmp_path / "wandb").glob("offline-run-*"):
        folder.rename(tmp_path / folder.name)
    run(*job(tiny_suite_yaml, tmp_path, 30), "--ckpt_path", checkpoint)
    assert read_back(tmp_path).run["id"] == first.run["id"]


@pytest.mark.slow
def test_a_run_that_is_repeated_elsewhere_leaves_the_first_one_alone(
    tiny_suite_yaml: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    run(*job(tiny_suite_yaml, first, 10))
    kept = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    run("fit", "--config", first / "config.yaml", "--out", second)
    assert {path: path.read_bytes() for path in first.rglob("*") if path.is_file()} == kept
    assert (second / "logs" / "metrics.csv").is_file()
    assert read_back(second).run["id"] != read_back(first).run["id"]


@pytest.fixture
def tensorboard(tiny_suite_yaml: Path, tmp_path: Path) -> EventAccumulator:
    run(*job(tiny_suite_yaml, tmp_path, 10), "--trainer.logger", "TensorBoardLogger")
    [folder] = {path.parent for path in tmp_path.rglob("events.out.tfevents.*")}
    return EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()


def test_tensorboard_shows_metrics_and_pictures(tensorboard: EventAccumulator) -> None:
    tags = tensorboard.Tags()
    assert {"train/entropy", "val/acc/mnist", "test/acc", "routing/cars"} <= set(tags["scalars"])
    assert {"media/accuracy", "media/confusion", "routing_map/dtd"} <= set(tags["images"])
    assert any(tag.startswith("samples/mnist/") for tag in tags["images"])


@pytest.mark.parametrize("logger", ["false", "MetricsFile", "lightning.pytorch.loggers.CSVLogger"])
def test_a_run_needs_no_dashboard(logger: str, tiny_suite_yaml: Path, tmp_path: Path) -> None:
    run(*job(tiny_suite_yaml, tmp_path, 10), "--trainer.logger", logger)
    assert (tmp_path / "results.json").is_file()
    assert not (tmp_path / "wandb").exists()
    assert bool(list(tmp_path.rglob("metrics.csv"))) == (logger != "false")


# The parts


def test_a_caption_names_what_is_wrong_and_the_largest_routing_weights() -> None:
    routing = {"a": 0.1, "b": 0.5, "c": -0.2, "d": 0.3}
    wrong = Sample(torch.zeros(3, 1, 1), "cat", "dog", 0.614, routing)
    assert caption(wrong) == "dog (61 %), is cat; b 0.50, d 0.30, a 0.10"
    assert caption(wrong._replace(label=None, routing={})) == "dog (61 %)"


def test_a_row_of_the_accuracy_table_is_a_task() -> None:
    results: dict[str, Any] = {
        "method": "TIES",
        "tasks": ["a", "b"],
        "accuracy": {"a": 0.5, "b": 0.7},
        "reference": {"individual": {"b": 0.9}},
    }
    rows = [["a", 0.5, None], ["b", 0.7, 0.9]]
    assert accuracy_by_task(results) == (["task", "TIES", "individual"], rows)


def test_the_normalized_curve_has_the_steps_that_were_validated() -> None:
    curves = {"val/acc/a": {5: 0.5, 10: 1.0}, "val/acc/b": {5: 0.2, 10: 0.4}, "val/acc": {5: 0.3}}
    assert normalized_curve(curves, {"a": 1.0, "b": 0.4}) == {5: 0.5, 10: 1.0}
    assert normalized_curve(curves, {}) == {}


@pytest.mark.slow
def test_every_key_of_the_sweep_is_one_of_its_job(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["wemoe-pl"])
    for path in SHIPPED_CONFIGS.glob("sweeps/*.yaml"):
        sweep = yaml.safe_load(path.read_text())
        command = " ".join(sweep["command"])
        config = command.partition("--config ")[2].split()[0]
        for key, choice in sweep["parameters"].items():
            for value in choice["values"]:
                with pytest.raises(SystemExit) as left:
                    main(["fit", "--config", config, f"--{key}={value}", "--print_config"])
                assert left.value.code == 0
        assert "${args}" in sweep["command"]
        assert sweep["metric"]["name"] == "val/information"
    capsys.readouterr()


@pytest.fixture
def alerted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[tuple[str, str]]]:
    sent: list[tuple[str, str]] = []
    monkeypatch.setattr(
        "wemoe_pl.reporting.dashboard.alert",
        lambda trainer, title, text: sent.append((title, text)),
    )
    return lambda: sent


def test_a_collapse_is_told_once(alerted: Callable[[], list[tuple[str, str]]]) -> None:
    guard, dashboard = CollapseGuard(), Dashboard()
    trainer: Any = SimpleNamespace(callbacks=[guard, dashboard])
    module: Any = None
    guard.collapsed = {"cars": 30}
    for _ in range(2):
        dashboard.on_train_batch_end(trainer, module, None, None, 0)
    assert alerted() == [("Collapse", "The predictions for 'cars' are collapsing at step 30.")]
    again = Dashboard()
    again.load_state_dict(dashboard.state_dict())
    again.on_train_batch_end(trainer, module, None, None, 0)
    assert len(alerted()) == 1


def test_what_ends_a_run_is_told(alerted: Callable[[], list[tuple[str, str]]]) -> None:
    trainer: Any = None
    Dashboard().on_exception(trainer, trainer, ValueError("the loss is nan.\nmore"))
    Dashboard().on_exception(trainer, trainer, KeyboardInterrupt())
    assert alerted() == [("ValueError", "the loss is nan")]
