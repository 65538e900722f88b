"""Two nodes: two network namespaces of this machine, a cable between them, torchrun on each."""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers.processes import PATIENCE

from wemoe_pl.cli import main

ADDRESSES = ("10.231.7.1", "10.231.7.2")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def nodes() -> Iterator[list[str]]:
    """The names of two namespaces that reach each other and nothing else."""
    mark = uuid.uuid4().hex[:6]
    names, ends = [f"wemoe-{mark}-{i}" for i in range(2)], [f"we{mark}{i}" for i in range(2)]
    try:
        try:
            for name in names:
                ip("netns", "add", name)
            ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
            for name, end, address in zip(names, ends, ADDRESSES, strict=True):
                ip("link", "set", end, "netns", name)
                ip("-n", name, "addr", "add", f"{address}/24", "dev", end)
                ip("-n", name, "link", "set", end, "up")
                ip("-n", name, "link", "set", "lo", "up")
        except (OSError, subprocess.CalledProcessError) as error:
            reason = getattr(error, "stderr", "") or str(error)
            pytest.skip(f"network namespaces cannot be made here: {reason.strip()}")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def test_two_nodes_adapt_and_score_as_one_process(
    nodes: list[str], uneven_suite_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = [
        *("fit", "--config", "adapt_miniature", "--suite", str(uneven_suite_yaml), "--quiet"),
        *("--data.batch_size", "4", "--trainer.max_steps", "2", "--data.test_batch_size", "2"),
    ]
    programs = []
    for rank, (name, end) in enumerate(zip(nodes, ADDRESSES, strict=True)):
        interface = subprocess.run(
            ["ip", "-n", name, "-o", "addr", "show", "to", end],
            capture_output=True, text=True, check=True,
        ).stdout.split()[1]  # fmt: skip
        torchrun = [
            *("ip", "netns", "exec", name, "env", f"GLOO_SOCKET_IFNAME={interface}"),
            *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "2"),
            *("--nproc_per_node", "1", "--node_rank", str(rank), "--master_addr", ADDRESSES[0]),
            *("--master_port", "29400", "-m", "wemoe_pl", *job),
            *("--trainer.devices", "1", "--trainer.num_nodes", "2"),
            *("--out", str(tmp_path / "nodes")),
        ]
        log = (tmp_path / f"{rank}.log").open("w")
        programs.append(subprocess.Popen(torchrun, stdout=log, stderr=subprocess.STDOUT))
    try:
        statuses = [program.wait(timeout=PATIENCE) for program in programs]
    finally:
        for program in programs:
            program.kill()
    said = "\n".join((tmp_path / f"{rank}.log").read_text() for rank in range(2))
    assert statuses == [0, 0], said
    monkeypatch.setattr("sys.argv", ["wemoe-pl"])
    assert main.main([*job, "--out", str(tmp_path / "one")]) == 0
    torch.use_deterministic_algorithms(False)
    one, two = (
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("one", "nodes")
    )
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=0, atol=1e-6)
