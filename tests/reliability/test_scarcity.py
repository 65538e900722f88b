"""Where files, memory, readers or regular files are wanting, a command ends with one sentence."""

import os
import resource
import shlex
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from helpers.processes import CONTEXT, PATIENCE, Running

from wemoe_pl import load, load_encoder
from wemoe_pl.checkpoints.backbone import Backbone


def allow_files(count: int) -> None:
    """Let this process open only so many files."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


@pytest.mark.parametrize(
    ("files", "workers", "said"),
    [
        (40, 2, "wemoe-pl: Only 40 files may be open, and 2 processes that load images need 80: "),
        (4, 0, "wemoe-pl: Too many open files: allow more, by `ulimit -n 4096`."),
    ],
)
def test_with_few_files_a_fit_ends_with_a_sentence(
    job: list[str], out: Path, tmp_path: Path, files: int, workers: int, said: str
) -> None:
    command = ["fit", *job, "--data.num_workers", str(workers), "--out", str(out)]
    with Running(command, tmp_path / "log", partial(allow_files, files)) as run:
        assert run.wait() == 1, run.output
    assert run.last_line.startswith(said)
    assert "Traceback" not in run.output


def shell(script: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash, in which `wemoe-pl` is this program."""
    program = f'wemoe-pl() {{ {shlex.quote(sys.executable)} -m wemoe_pl "$@"; }}; {script}'
    return subprocess.run(["bash", "-c", program], capture_output=True, text=True, timeout=120)


def test_with_little_address_space_a_command_says_so() -> None:
    done = shell("ulimit -v 500000; wemoe-pl fit --config adapt_miniature")
    assert done.returncode == 1
    assert done.stderr.startswith("wemoe-pl: This process may have 0.5 GB of address space (`ulim")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["--help", "fit --help", "completion bash", "--version"])
def test_a_reader_that_is_gone_is_no_error(command: str) -> None:
    done = shell(f"wemoe-pl {command} | true; echo ${{PIPESTATUS[0]}}")
    assert done.stderr == ""
    assert int(done.stdout) in (0, 128 + signal.SIGPIPE)


@pytest.mark.parametrize("option", ["--config", "--suite"])
def test_a_pipe_is_no_config(option: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    command = ["fit", "--config", "adapt_miniature", option, str(tmp_path / "pipe.yaml")]
    with Running(command, tmp_path / "log") as run:
        assert run.wait() == 1, run.output
    [line] = run.output.splitlines()
    kind = option.removeprefix("--")
    assert line.startswith(f"wemoe-pl: The {kind} '{tmp_path}/pipe.yaml' is a pipe or a device")


def test_a_pipe_among_images_or_as_weights_is_not_waited_for(tmp_path: Path) -> None:
    pipe, said = tmp_path / "pipe.safetensors", tmp_path / "said"
    os.mkfifo(pipe)
    process = CONTEXT.Process(target=read_both_ways, args=(str(pipe), said))
    process.start()
    process.join(PATIENCE)
    process.kill()  # if it waits
    assert said.read_text() == "CheckpointError\nCheckpointError\n"


def read_both_ways(path: str, said: Path) -> None:
    """Read a file as a model and as an encoder, and write how each of them ends."""
    for read in (load, partial(load_encoder, backbone=Backbone("vit_tiny_patch16_224"))):
        try:
            read(path)
        except Exception as error:
            with said.open("a") as file:
                print(type(error).__name__, file=file)
