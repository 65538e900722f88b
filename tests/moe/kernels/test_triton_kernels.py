"""Where Triton's kernels can run; what they compute is tested with `fused`."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from wemoe_pl.moe.kernels import triton_kernels
from wemoe_pl.moe.kernels.triton_kernels import available, has_compiler


def test_it_is_available_where_triton_is_and_a_device_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert available(torch.zeros(1))  # interpreted
    monkeypatch.setattr(triton_kernels, "is_interpreted", lambda function: False)
    assert not available(torch.zeros(1))
    monkeypatch.setattr(triton_kernels, "triton", None)
    assert not available(torch.zeros(1))


def test_no_kernel_is_started_without_the_compiler_that_triton_calls(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not has_compiler.__wrapped__()
    (tmp_path / "gcc").touch(mode=0o755)
    assert has_compiler.__wrapped__()


@pytest.mark.slow
def test_without_triton_the_module_is_imported_all_the_same() -> None:
    script = (
        "import sys; sys.modules['triton'] = None; import torch; "
        "from wemoe_pl.moe.kernels.fused import available; sys.exit(available(torch.zeros(1)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
