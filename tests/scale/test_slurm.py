"""A pair of processes in a simulated SLURM: signalled, saved, queued again, and going on."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from launched import run, srun, started, wait_until
from torch import Tensor

JOB = "4242"
STEPS = 90


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What scontrol, which this plays the part of, was asked for: a line each."""
    program, record = tmp_path / "bin" / "scontrol", tmp_path / "asked"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {record}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return record


def trained(out: Path) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = checkpoint(out)["state_dict"]
    return weights


def checkpoint(out: Path) -> dict[str, dict[str, Tensor]]:
    contents: dict[str, dict[str, Tensor]] = torch.load(
        out / "checkpoints" / "last.ckpt", weights_only=True
    )
    return contents


def test_a_pair_is_queued_again_and_goes_on_where_it_was(
    uneven_suite_yaml: Path, tmp_path: Path, asked: Path
) -> None:
    job: Sequence[str | Path] = (
        *("fit", "--config", "adapt_miniature", "--suite", uneven_suite_yaml, "--quiet"),
        *("--data.batch_size", "4", "--trainer.max_steps", str(STEPS), "--trainer.devices", "2"),
        *("--data.tasks_per_batch", "2", "--trainer.accumulate_grad_batches", "3"),
        *("--trainer.val_check_interval", "60", "--model.references", "false"),
    )
    whole, out = tmp_path / "whole", tmp_path / "queued"
    run(srun(2, JOB), [*job, "--out", whole], tmp_path / "said")
    with started(srun(2, JOB), [*job, "--out", out], tmp_path / "first") as pair:
        wait_until((out / "checkpoints" / "last.ckpt").is_file, pair)
        assert pair[1].pid is not None
        os.kill(pair[1].pid, signal.SIGUSR1)  # the other has to hear of it from this one
        wait_until(lambda: asked.is_file() and asked.read_text(), pair)
    assert asked.read_text() == f"requeue {JOB}\n"
    reached = int(checkpoint(out)["global_step"])  # type: ignore[call-overload]
    assert 20 < reached < STEPS
    again = ("--ckpt_path", "last", "--out", out)
    run(srun(2, JOB), [*job, *again], tmp_path / "second")
    assert not list(out.glob("hpc_ckpt*"))  # which Lightning would take for what is to be scored
    for name, weight in trained(whole).items():
        torch.testing.assert_close(trained(out)[name], weight, rtol=0, atol=0)
    for name in ("results.json", "summary.md"):
        assert (out / name).is_file()
