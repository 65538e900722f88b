"""Damaged files of runs, exports and sweeps: one sentence, and nothing is believed that is damaged.

A few dozen cases of each here; `make fuzz` runs the same tests on thousands. What is read in spite
of a change is given to all that shows it or goes on with it.
"""

import copy
import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import yaml
from helpers.hostile import many, one_sentence
from helpers.mutations import altered, damaged
from helpers.written_runs import bare_results, results_record
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from wemoe_pl.callbacks.collapse_guard import CollapseGuard
from wemoe_pl.callbacks.curves import Curves
from wemoe_pl.callbacks.last_checkpoint import LastCheckpoint
from wemoe_pl.cli.sweep.points import Point
from wemoe_pl.cli.sweep.records import read_choice, read_command
from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.suite import Suite
from wemoe_pl.export.bundle import BUNDLE_FILE
from wemoe_pl.export.loading import load, open_model
from wemoe_pl.export.manifest import MANIFEST
from wemoe_pl.export.writing import export
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.preflight.folder import state_in_words
from wemoe_pl.reporting.comparison import TableOptions, compare_runs
from wemoe_pl.reporting.dashboard import resumed_run
from wemoe_pl.reporting.metric_rows import rows_before
from wemoe_pl.reporting.report import sections_of
from wemoe_pl.reporting.scored_runs import read_run
from wemoe_pl.reporting.summary import summary_page
from wemoe_pl.reporting.table import LAYOUTS
from wemoe_pl.runs.checkpoint import has_ended, read_checkpoint
from wemoe_pl.runs.folder import CONFIG_HEADER, RunFolder
from wemoe_pl.runs.meant_run import model_change
from wemoe_pl.runs.settings import difference
from wemoe_pl.system.files import sha256
from wemoe_pl.training.adapt import TestTimeAdaptation
from wemoe_pl.training.optimizer_check import check_optimizers, check_schedulers

pytestmark = pytest.mark.filterwarnings("ignore")  # of fields of later versions
NewTrainer = Callable[..., L.Trainer]
KEPT = Path(__file__).parent / "kept" / "dotted_names"
ODD_TENSORS = (
    torch.tensor(float("nan")), torch.full((8, 8), float("inf")), torch.ones(8, 8).long(),
    torch.ones(8, 8).double(), torch.ones(8, 8, dtype=torch.complex64), torch.ones(0),
    torch.ones(1).expand(1 << 40), torch.ones(8).to_sparse(), torch.ones(3, 3), None, "w", 1.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The folder of a run whose files are damaged one by one."""
    path = tmp_path_factory.mktemp("hostile") / "run"
    (path / "checkpoints").mkdir(parents=True)
    return RunFolder(path)


# --- results, config and metrics --------------------------------------------------------------

FULL = bare_results(
    {"cars": 0.5, "dtd": 0.75},
    note="", experts=["cars", "dtd"], own_reference=None, command="wemoe-pl fit", partial=None,
    reference={"pretrained": {"cars": 0.4, "dtd": 0.5}, "individual": {"cars": 0.9, "dtd": 1.0}},
    corruption={"kind": "spatter", "severity": 2, "seed": 0}, images={"cars": 4, "dtd": 8},
    unknown_task={
        "entropy": {"accuracy": {"cars": 0.5}, "task_accuracy": {"cars": 1.0}, "mean": 0.5}
    },
    information={"cars": 0.1}, diversity={"cars": 0.2}, calibration_error={"cars": 0.3},
    guard={"action": "warn", "collapsed": {"cars": 3}, "restored_step": None},
    run=results_record(began_from=None, program={"code": "", "wemoe_pl": "", "torch": ""}),
    checkpoint=None, finished="2026-01-01 00:00:00+00:00", revision=None, merge=None,
    sources={"pretrained": {"source": "a", "sha256": "0" * 64}}, seconds={"fit": 1.5},
)  # fmt: skip
RESULTS = [FULL, json.loads((KEPT / "fitted" / "results.json").read_text())]


def show(folder: RunFolder) -> None:
    """Read the run of a folder, and show its figures everywhere."""
    run = read_run(folder)
    results = run.results
    assert results["tasks"]
    assert set(results["tasks"]) == set(results["accuracy"])
    scores = [*results["accuracy"].values()]
    assert all(type(score) in (int, float) and 0 <= score <= 1.000001 for score in scores)
    assert math.isclose(results["mean"], sum(scores) / len(scores), abs_tol=1e-6)
    tables = compare_runs([run], TableOptions(references=True, mean_over_seeds=True))
    for layout in LAYOUTS.values():
        layout(tables)
    summary_page(results, [])
    sections_of([run])


@many(1.5)
@given(data=st.data())
def test_altered_results(data: st.DataObject, folder: RunFolder) -> None:
    folder.config.unlink(missing_ok=True)
    drawn = data.draw(altered(copy.deepcopy(data.draw(st.sampled_from(RESULTS)))))
    folder.results.write_text(json.dumps(drawn))
    one_sentence(lambda: show(folder))
    assert folder.state


@many(1)
@given(content=damaged([json.dumps(results).encode() for results in RESULTS]))
def test_damaged_results(content: bytes, folder: RunFolder) -> None:
    folder.config.unlink(missing_ok=True)
    folder.results.write_bytes(content)
    one_sentence(lambda: show(folder))


CONFIG = yaml.safe_load((KEPT / "fitted" / "config.yaml").read_text())


def read_everywhere(folder: RunFolder) -> None:
    """Let all that reads the config of a run read it."""
    difference(folder.config, CONFIG)
    model_change(folder, CONFIG)
    read_run(folder)


@many(0.5)
@given(data=st.data())
def test_an_altered_config_of_a_run(data: st.DataObject, folder: RunFolder) -> None:
    text = f"{CONFIG_HEADER}.\n{yaml.safe_dump(data.draw(altered(CONFIG)))}".encode()
    folder.config.write_bytes(data.draw(st.just(text) | damaged([text])))
    folder.results.write_text(json.dumps(FULL))
    one_sentence(lambda: read_everywhere(folder))


METRICS = b"train/entropy,step,val/acc\n0.5,10,\n,20,0.75\n0.25,30,\ninf,40,\n"


@many(1)
@given(content=damaged([METRICS]), step=st.integers(0, 50))
def test_damaged_metrics(content: bytes, step: int, folder: RunFolder) -> None:
    path = folder.path / "metrics.csv"
    path.write_bytes(content)

    def read() -> None:
        for row in rows_before(path, step):
            assert int(row["step"]) < step
            assert all(isinstance(float(value), float) for value in row.values())

    one_sentence(read)


# --- checkpoints ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def contents() -> list[dict[str, Any]]:
    """The contents of checkpoints of fits, ended and not."""
    files = [KEPT / run / "checkpoints" / "last.ckpt" for run in ("fitted", "interrupted")]
    return [torch.load(path, weights_only=True) for path in files]


def with_odd_tensors(data: st.DataObject, value: Any) -> Any:
    """Nested values of which one tensor, or one value beside it, is another."""
    if not isinstance(value, dict | list) or not value:
        return data.draw(st.sampled_from(ODD_TENSORS))
    places = sorted(value, key=str) if isinstance(value, dict) else range(len(value))
    place = data.draw(st.sampled_from(places))
    changed = copy.copy(value)
    changed[place] = with_odd_tensors(data, value[place])
    return changed


def weights_of(checkpoint: Mapping[str, Any]) -> Mapping[str, Tensor]:
    weights: Mapping[str, Tensor] = checkpoint["state_dict"]
    return weights


def use(folder: RunFolder, whole: Mapping[str, Any]) -> None:
    """Read a checkpoint everywhere: its weights are finite, and of a precision that runs have."""
    checkpoint = read_checkpoint(folder.last_checkpoint)
    for name, weight in weights_of(checkpoint).items():
        assert isinstance(name, str)
        assert weight.is_floating_point()
        assert weight.isfinite().all()
    assert type(checkpoint["global_step"]) is int
    has_ended(folder.last_checkpoint)
    resumed_run(checkpoint)
    state_in_words(folder.path)
    weights = [nn.Parameter(torch.zeros_like(weight)) for weight in weights_of(whole).values()]
    optimizer = Adam(weights, lr=0.1)
    scheduler = CosineAnnealingLR(optimizer, 6)
    check_optimizers(checkpoint["optimizer_states"], [optimizer])
    check_schedulers(checkpoint["lr_schedulers"], [scheduler])
    optimizer.load_state_dict(checkpoint["optimizer_states"][0])
    scheduler.load_state_dict(checkpoint["lr_schedulers"][0])
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizer.step()


@many(1.5)
@given(data=st.data())
def test_a_checkpoint_with_altered_fields(
    data: st.DataObject, contents: list[dict[str, Any]], folder: RunFolder
) -> None:
    folder.results.unlink(missing_ok=True)
    whole = data.draw(st.sampled_from(contents))
    is_deep = data.draw(st.booleans())
    drawn = with_odd_tensors(data, whole) if is_deep else data.draw(altered(whole))
    torch.save(drawn, folder.last_checkpoint)
    one_sentence(lambda: use(folder, whole))


@many(1)
@given(data=st.data())
def test_a_damaged_checkpoint(
    data: st.DataObject, contents: list[dict[str, Any]], folder: RunFolder
) -> None:
    torch.save(contents[0], folder.last_checkpoint)
    folder.last_checkpoint.write_bytes(data.draw(damaged([folder.last_checkpoint.read_bytes()])))

    def read() -> None:
        found, whole = weights_of(read_checkpoint(folder.last_checkpoint)), weights_of(contents[0])
        assert found.keys() == whole.keys()
        assert all(found[name].equal(weight) for name, weight in whole.items())

    one_sentence(read)


@many(0.05)
@given(data=st.data())
def test_a_model_of_a_checkpoint_with_altered_fields(
    data: st.DataObject, contents: list[dict[str, Any]], folder: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(KEPT)  # where its sources lie
    torch.save(data.draw(altered(contents[0])), folder.last_checkpoint)

    def answer() -> None:
        assert load(folder.last_checkpoint)(torch.ones(1, 3, 14, 14), "mnist").isfinite().all()

    one_sentence(answer)


@many(0.05)
@given(data=st.data())
def test_a_fit_that_goes_on_from_an_altered_checkpoint(
    data: st.DataObject, tiny_suite: Suite, quiet_trainer: NewTrainer, folder: RunFolder
) -> None:
    folder.results.unlink(missing_ok=True)

    def fit(steps: int, start: Path | None = None) -> None:
        callbacks = [LastCheckpoint(str(folder.checkpoints)), CollapseGuard("restore"), Curves()]
        trainer = quiet_trainer(
            max_steps=steps, val_check_interval=1, callbacks=callbacks, enable_checkpointing=True
        )
        module = TestTimeAdaptation(tiny_suite, WEMoE(), references=False)
        trainer.fit(module, MultiTaskData(tiny_suite, batch_size=2), ckpt_path=start)

    start = folder.path / "two.ckpt"
    if not start.is_file():
        fit(2)
        shutil.copy(folder.last_checkpoint, start)
    changed = folder.path / "changed.ckpt"
    torch.save(data.draw(altered(torch.load(start, weights_only=True))), changed)
    one_sentence(lambda: fit(3, changed))


# --- exports ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a bundle with a pruned dictionary."""
    out = tmp_path_factory.mktemp("exports") / "bundle"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(KEPT)
        export(open_model(KEPT / "fitted"), "bundle", out, lambda line: None)
    return out


def answer_of(bundle: Path) -> Tensor:
    """What the model of a bundle answers; finite, whatever was changed."""
    answer = load(bundle)(torch.ones(1, 3, 14, 14), "mnist")
    assert answer.isfinite().all()
    return answer


@many(0.5)
@given(data=st.data())
def test_an_altered_manifest(data: st.DataObject, bundle: Path) -> None:
    manifest = json.loads((bundle / MANIFEST).read_text())
    copied = shutil.copytree(bundle, bundle.parent / "copy", dirs_exist_ok=True)
    text = json.dumps(data.draw(altered(manifest))).encode()
    (copied / MANIFEST).write_bytes(data.draw(st.just(text) | damaged([text])))
    one_sentence(lambda: answer_of(copied))


@many(0.2)
@given(data=st.data())
def test_altered_tensors_of_a_bundle(data: st.DataObject, bundle: Path) -> None:
    """The hash is that of the altered file, as whoever sends a hostile one would see to."""
    copied = shutil.copytree(bundle, bundle.parent / "altered", dirs_exist_ok=True)
    tensors = load_file(bundle / BUNDLE_FILE)
    name = data.draw(st.sampled_from(sorted(tensors)))
    tensor = tensors[name]
    shape = data.draw(st.sampled_from([tensor.shape, (0,), (1,), (8, 8), (tensor.numel(),)]))
    value = data.draw(st.sampled_from((float("nan"), float("inf"), -1, 0, 1, 30_000)))
    kinds = (tensor.dtype, torch.float32, torch.float64, torch.float16, torch.int32, torch.int8)
    dtype = data.draw(st.sampled_from(kinds))
    number = value if dtype.is_floating_point or math.isfinite(value) else 2
    tensors[name] = torch.full(
        shape, min(number, 100) if dtype == torch.int8 else number, dtype=dtype
    )
    save_file(tensors, copied / BUNDLE_FILE)
    about = json.loads((bundle / MANIFEST).read_text())
    about["files"][BUNDLE_FILE] = sha256(copied / BUNDLE_FILE)
    (copied / MANIFEST).write_text(json.dumps(about))
    one_sentence(lambda: answer_of(copied))


# --- sweeps -----------------------------------------------------------------------------------

RECORDS = [
    {"command": ["fit", "--config", "a", "--out", "b"], "files": {"a.yaml": "0" * 64}},
    {"command": ["fit"], "files": None},
    {"model.merge.scaling": "0.3", "folder": "runs/a", "information": 0.5},
]


@many(1)
@given(data=st.data())
def test_altered_files_of_a_sweep(data: st.DataObject, folder: RunFolder) -> None:
    text = json.dumps(data.draw(altered(data.draw(st.sampled_from(RECORDS))))).encode()
    content = data.draw(st.just(text) | damaged([text]))
    point = Point({"a": "1"}, folder.path, ("fit",))
    point.record.write_bytes(content)
    folder.results.write_text(json.dumps(FULL))

    def read() -> None:
        record = read_command(point.record)
        assert all(type(word) is str for word in record["command"])

    one_sentence(read)
    one_sentence(lambda: read_choice(point.record))
    assert point.is_done in (True, False)
    point.let_go_of_damage()
