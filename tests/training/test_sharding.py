"""Dictionaries that processes share, or that wait on the CPU: the same results, with less held."""

import json
import os
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from helpers.launched import DIFFERS, Args, alone, outcome, together, torchrun
from helpers.processes import CONTEXT, PATIENCE, Environment
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from wemoe_pl.export.loading import load
from wemoe_pl.training.adapt import TestTimeAdaptation

# Batches of 2 are 1, 1, 2, 3 and 4: each process has another number of them.
JOB = (
    *("--trainer.accelerator", "cpu"),
    *("--data.batch_size", "4", "--data.test_batch_size", "2", "--data.num_workers", "0"),
    *("--trainer.max_steps", "3", "--trainer.val_check_interval", "2", "--quiet"),
)
DENSE = ("--config", "adapt_miniature", "--model.learning_rate", "1e-3")
PRUNED = ("--config", "e_wemoe", "--model.learning_rate", "1e-3")
FREE = (*DENSE, "--model.merge.router_depth", "0", "--model.references", "false")
OWN = ("--allow", "helpers", "--model.objective", "helpers.objectives.Everything")
LARGE = ("--data.test_batch_size", "8")  # a batch per task: all but the first process have none
SHARDED = ("--config", "trainer/fsdp", "--trainer.accelerator", "cpu")
STREAMED = ("--config", "trainer/stream", "--trainer.accelerator", "cpu")


@pytest.fixture(scope="module")
def suite(uneven_suite_yaml: Path) -> Args:
    return "--suite", uneven_suite_yaml


@pytest.fixture(scope="module")
def adapted(suite: Args, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return alone("fit", (*DENSE, *JOB, *suite), tmp_path_factory.mktemp("adapted") / "run")


def results(folder: Path) -> dict[str, Any]:
    contents: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return {name: value for name, value in contents.items() if name not in DIFFERS}


def checkpoint(folder: Path) -> dict[str, Any]:
    path = folder / "checkpoints" / "last.ckpt"
    contents: dict[str, Any] = torch.load(path, weights_only=True)
    return contents


def assert_same_training(folder: Path, other: Path, tolerance: float) -> None:
    """Routers, and what the optimizer knows of them, up to sums in another order.

    Of numbers above 1 the last places alone may be more than the tolerance, and how many of them
    depends on the processor.
    """
    one, two = checkpoint(folder), checkpoint(other)
    assert one.keys() == two.keys()
    for part in ("state_dict", "optimizer_states"):
        torch.testing.assert_close(one[part], two[part], rtol=1e-6, atol=tolerance)


@pytest.mark.parametrize(
    "job",
    [
        DENSE,
        pytest.param(PRUNED, marks=pytest.mark.slow),
        pytest.param((*DENSE, *OWN), marks=pytest.mark.slow),
    ],
    ids=["dense", "pruned", "own objective"],
)
def test_two_processes_with_half_the_dictionary_each_learn_what_one_learns(
    job: Args, suite: Args, tmp_path: Path
) -> None:
    args = (*job, *JOB, *suite)
    one = alone("fit", args, tmp_path / "one")
    two = together(2, "fit", (*args, *SHARDED, *LARGE), tmp_path / "two")
    assert_same_training(one, two, tolerance=1e-6)
    assert results(one)["images"] == results(two)["images"]
    assert results(one)["parameters"] == results(two)["parameters"]


@pytest.mark.slow
@pytest.mark.parametrize("objective", [(), OWN], ids=["entropy", "own objective"])
def test_a_dictionary_that_waits_on_the_cpu_is_learned_with_alike(
    suite: Args, tmp_path: Path, objective: Args
) -> None:
    args = (*DENSE, *objective, *JOB, *suite)
    usual = alone("fit", args, tmp_path / "usual")
    streamed = together(1, "fit", (*args, *STREAMED), tmp_path / "streamed")
    assert_same_training(usual, streamed, tolerance=1e-6)
    assert results(streamed)["accuracy"] == results(usual)["accuracy"]


@pytest.mark.slow
def test_three_processes_score_as_one_whatever_their_shares(
    adapted: Path, suite: Args, tmp_path: Path
) -> None:
    args = (*DENSE, *JOB, *suite)
    last = ("--ckpt_path", adapted / "checkpoints" / "last.ckpt")
    one = alone("test", (*args, *last), tmp_path / "one")
    three = together(3, "test", (*args, *last, *SHARDED), tmp_path / "three")
    for key in ("accuracy", "images", "reference", "parameters"):
        assert results(three)[key] == results(one)[key]


@pytest.mark.slow
def test_a_run_goes_on_and_is_loaded_where_the_dictionary_is_whole(
    adapted: Path, suite: Args, tmp_path: Path
) -> None:
    last = ("--ckpt_path", adapted / "checkpoints" / "last.ckpt")
    args = (*DENSE, *JOB, *suite, *last, "--trainer.max_steps", "5", "--model.references", "false")
    one = alone("fit", args, tmp_path / "one")
    two = together(2, "fit", (*args, *SHARDED), tmp_path / "two")
    assert_same_training(one, two, tolerance=1e-6)
    last = ("--ckpt_path", two / "checkpoints" / "last.ckpt")
    scored = alone("test", (*DENSE, *JOB, *suite, *last), tmp_path / "scored")
    assert results(scored)["accuracy"] == results(two)["accuracy"]
    images = torch.randn(2, 3, 28, 28)
    with torch.no_grad():
        answers = [load(folder)(images, "five") for folder in (one, two)]
    torch.testing.assert_close(*answers, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_what_would_fold_is_left_to_be_folded_when_it_is_loaded(
    suite: Args, tmp_path: Path
) -> None:
    run = together(1, "fit", (*FREE, *JOB, *suite, *STREAMED), tmp_path / "run")
    assert not (run / "encoder.safetensors").exists()
    assert not load(run).mixtures


def test_predictions_are_refused_where_a_process_may_have_no_image(
    adapted: Path, suite: Args, uneven_suite_yaml: Path, tmp_path: Path
) -> None:
    images = ("--data.images", uneven_suite_yaml.parent / "five")
    last = ("--ckpt_path", adapted / "checkpoints" / "last.ckpt")
    args = ("predict", *DENSE, *JOB, *suite, *images, *last, *SHARDED, "--trainer.devices", "2")
    statuses, said = outcome(torchrun(2), [*args, "--out", tmp_path / "run"], tmp_path / "said")
    assert statuses == [1, 1]
    assert all("made on one device: use `--config trainer/stream.yaml`" in text for text in said)


# What is held


class Watch(L.Callback):
    """Counts the bytes of a dictionary that are held: always, while a block runs, and in between.

    Attributes:
        fetched: by block, the whole task vectors that its last pass has seen.
        present: bytes of those of all blocks, in the forward pass of each block.
        left: the same, after each backward pass.
        shares: bytes of what is held always.
        all: bytes of the whole dictionary.
    """

    def __init__(self) -> None:
        self.fetched: dict[int, list[Tensor]] = {}
        self.present: list[int] = []
        self.left: list[int] = []

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, TestTimeAdaptation)
        for i, mixture in enumerate(pl_module.classifier.mixtures):
            vectors = mixture.task_vectors

            def note(module: nn.Module, args: Any, i: int = i, vectors: Any = vectors) -> None:
                self.fetched[i] = [p.data for p in vectors.parameters()]
                self.present.append(self.whole)

            mixture.register_forward_pre_hook(note)

    def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.left.append(self.whole)
        assert isinstance(pl_module, TestTimeAdaptation)
        held = [p for m in pl_module.classifier.mixtures for p in m.task_vectors.parameters()]
        self.shares = sum(p.to_local().nbytes for p in held if isinstance(p, DTensor))
        self.all = sum(p.nbytes for p in held)

    @property
    def whole(self) -> int:
        tensors = [tensor for each in self.fetched.values() for tensor in each]
        return sum(tensor.untyped_storage().nbytes() for tensor in tensors)


def watched(environment: Environment, args: list[str], offload: bool, path: Path) -> None:
    """Adapt in this process as one of several, and write what was held."""
    os.environ.update(environment)
    torch.set_num_threads(1)
    from wemoe_pl.cli.job import build_job
    from wemoe_pl.training.sharding import ShardedDictionary

    job, watch = build_job(args), Watch()
    switches = ("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing")
    trainer = L.Trainer(
        accelerator="cpu",
        devices=int(environment["WORLD_SIZE"]),
        strategy=ShardedDictionary(offload),
        callbacks=[watch],
        max_steps=2,
        limit_val_batches=0,
        **dict.fromkeys(switches, False),  # type: ignore[arg-type]
    )
    trainer.fit(job.model, datamodule=job.datamodule)
    held = {"all": watch.all, "shares": watch.shares, "blocks": len(watch.fetched)}
    path.write_text(json.dumps(held | {"present": watch.present, "left": watch.left}))


@pytest.mark.parametrize(("processes", "offload"), [(2, False), (1, True)])
def test_a_process_holds_its_share_always_and_a_block_while_it_runs(
    processes: int, offload: bool, suite: Args, tmp_path: Path
) -> None:
    args = [str(a) for a in (*DENSE, *JOB[:-1], *suite, "--out", tmp_path)]
    paths = [tmp_path / f"{rank}.json" for rank in range(processes)]
    several = [
        CONTEXT.Process(target=watched, args=(environment, args, offload, path))
        for environment, path in zip(torchrun(processes), paths, strict=True)
    ]
    for process in several:
        process.start()
    for process in several:
        process.join(PATIENCE)
        process.kill()
    for path in paths:
        held = json.loads(path.read_text())
        assert held["shares"] == pytest.approx(held["all"] / processes, rel=0.01)
        assert max(held["present"]) == pytest.approx(held["all"] / held["blocks"], rel=0.01)
        assert held["left"] == [0, 0]
