"""A pair of processes in a simulated SLURM: signalled, saved, queued again, and going on."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from helpers.launched import free_port, run, srun, started, wait_until
from helpers.processes import PATIENCE
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
        wait_until((out / "checkpoints" / "last.ckpt").is_file, pair[0].is_alive)
        assert pair[1].pid is not None
        os.kill(pair[1].pid, signal.SIGUSR1)  # the other has to hear of it from this one
        wait_until(lambda: asked.is_file() and asked.read_text(), pair[0].is_alive)
    assert asked.read_text() == f"requeue {JOB}\n"
    reached = int(checkpoint(out)["global_step"])  # type: ignore[call-overload]
    assert 20 <= reached < STEPS
    run(srun(2, JOB), [*job, "--out", out], tmp_path / "second")
    assert not list(out.glob("hpc_ckpt*"))  # which Lightning would take for what is to be scored
    for name, weight in trained(whole).items():
        torch.testing.assert_close(trained(out)[name], weight, rtol=0, atol=0)
    for name in ("results.json", "summary.md"):
        assert (out / name).is_file()


# What stands in for srun: a process per task, each told what SLURM tells, and all that it hears.
SRUN = """\
import os, signal, subprocess, sys
command = [word for word in sys.argv[1:] if word != "--kill-on-bad-exit=1"]
tasks = [
    subprocess.Popen(command, env={**os.environ, "SLURM_PROCID": str(i), "SLURM_NODEID": str(i)})
    for i in range(2)
]
open("srun.pid", "w").write(str(os.getpid()))
signal.signal(signal.SIGUSR1, lambda signum, _: [task.send_signal(signum) for task in tasks])
sys.exit(max(task.wait() for task in tasks))
"""
SBATCH = {
    **dict.fromkeys(("SLURM_NTASKS", "SLURM_STEP_NUM_TASKS", "SLURM_NNODES"), "2"),
    "SLURM_NTASKS_PER_NODE": "1",
    "SLURM_LOCALID": "0",
    "SLURM_NODELIST": "127.0.0.1",
    "SLURM_JOB_ID": JOB,
    "SLURM_JOB_NAME": "wemoe",
}


@pytest.mark.soak
def test_the_documented_file_for_sbatch_runs_is_queued_again_and_goes_on(
    uneven_suite_yaml: Path, tmp_path: Path, asked: Path
) -> None:
    text = Path(__file__).parents[2].joinpath("docs", "scaling.md").read_text()
    [script] = re.findall(r"```bash\n(#!/bin/bash\n.*?)```", text, re.DOTALL)
    (tmp_path / "job.sh").write_text(script)
    for name, contents in {
        "srun": f"#!{sys.executable}\n{SRUN}",
        "wemoe-pl": f'#!/bin/sh\nexec {sys.executable} -m wemoe_pl "$@"\n',
    }.items():
        (tmp_path / "bin" / name).write_text(contents)
        (tmp_path / "bin" / name).chmod(0o755)
    here = [
        *("--suite", str(uneven_suite_yaml), "--model.learning_rate", "5e-3", "--quiet"),
        *("--data.tasks_per_batch", "5", "--trainer.accumulate_grad_batches", "1"),
        *("--trainer.max_steps", "60", "--trainer.val_check_interval", "20"),
        *("--trainer.accelerator", "cpu", "--trainer.devices", "1", "--data.num_workers", "0"),
        *("--trainer.logger", "MetricsFile"),
    ]
    out = tmp_path / "runs" / "adapt_vitl14"

    def begin() -> subprocess.Popen[str]:
        environment = {**os.environ, **SBATCH, "MASTER_PORT": str(free_port())}
        return subprocess.Popen(
            ["bash", "job.sh", *here], cwd=tmp_path, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    job = begin()
    try:
        wait_until((out / "checkpoints" / "last.ckpt").is_file, lambda: job.poll() is None)
        os.kill(int((tmp_path / "srun.pid").read_text()), signal.SIGUSR1)
        wait_until(lambda: asked.is_file() and asked.read_text(), lambda: job.poll() is None)
    finally:
        os.killpg(job.pid, signal.SIGKILL)
        job.communicate()
    assert asked.read_text() == f"requeue {JOB}\n"
    reached = int(checkpoint(out)["global_step"])  # type: ignore[call-overload]
    assert 20 <= reached < 60
    again = begin()
    said, _ = again.communicate(timeout=PATIENCE)
    assert again.returncode == 0, said
    assert (out / "results.json").is_file()
