"""Real processes: what is answered without importing torch, and errors of one line."""

import subprocess
import sys
from pathlib import Path

import pytest

from wemoe_pl import __version__

# What takes long to import, and is for running.
HEAVY = {"torch", "torchvision", "lightning", "timm", "numpy", "jsonargparse", "matplotlib"}
SCRIPT = f"""
import sys
from wemoe_pl.__main__ import main
status = main(sys.argv[1:])
sys.exit(f"imported {{imported}}" if (imported := {HEAVY} & set(sys.modules)) else status)
"""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("--version", f"wemoe-pl {__version__}"),
        ("--help", "usage: wemoe-pl COMMAND --config CONFIG [--out DIR] [--KEY VALUE ...]"),
        ("fit --help", "usage: wemoe-pl fit --config CONFIG [--out DIR] [--KEY VALUE ...]"),
        ("test -c ties -h", "usage: wemoe-pl test --config CONFIG [--out DIR] [--KEY VALUE ...]"),
        ("sweep --help", "usage: wemoe-pl sweep [-h] "),
        ("report --help", "usage: wemoe-pl report [-h] "),
        ("bench --help", "usage: wemoe-pl bench [-h] "),
        ("completion --help", "usage: wemoe-pl completion [-h] SHELL"),
        ("completion bash", "complete -o default -F _wemoe_pl wemoe-pl"),
        ("completion --complete fit --task ca", "cars"),
        ("completion --complete fit -c adapt_miniature --trainer.m", "--trainer.max_steps\t100"),
    ],
)
def test_what_needs_no_torch_is_answered_without_importing_it(command: str, line: str) -> None:
    answer = run("-c", SCRIPT, *command.split())
    assert (answer.returncode, answer.stderr) == (0, "")
    assert any(told.startswith(line) for told in answer.stdout.splitlines())


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("", "Give a command: fit, validate, test, predict, "),
        ("fti --config adapt_miniature", "There is no command 'fti'. Did you mean 'fit'? "),
        ("fti --help", "There is no command 'fti'. Did you mean 'fit'? "),
        ("fit --config adapt_miniatur", "There is no config 'adapt_miniatur', neither here"),
        ("test -c ties --config=tis", "There is no config 'tis', neither here"),
        ("completion", "the following arguments are required: SHELL. See wemoe-pl completion --h"),
        ("completion bsh", "There is no script for 'bsh'. Did you mean 'bash'? Valid names: bash"),
    ],
)
def test_a_mistake_in_a_name_is_answered_without_importing_torch(
    command: str, sentence: str
) -> None:
    answer = run("-c", SCRIPT, *command.split())
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.startswith(f"wemoe-pl: {sentence}")
    assert answer.stderr.count("\n") == 1


def test_the_module_is_a_program() -> None:
    answer = run("-m", "wemoe_pl", "--version")
    assert (answer.returncode, answer.stdout) == (0, f"wemoe-pl {__version__}\n")


def test_what_lies_beside_where_it_is_started_is_no_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("torch.py").write_text("print('not torch')")
    program = "import sys; from wemoe_pl.__main__ import main; print(str(sys.path[0]))"
    assert run("-c", program).stdout == "\n"  # other programs keep their path
    Path("own.yaml").write_text("model: nowhere")
    answer = run("-m", "wemoe_pl", "check", "--config", "own.yaml")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.startswith("wemoe-pl: own.yaml: There is no class 'nowhere'.")


def test_a_mistake_ends_in_one_line_and_a_status() -> None:
    answer = run("-m", "wemoe_pl", "fti", "--config", "adapt_miniature")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.startswith("wemoe-pl: There is no command 'fti'. Did you mean 'fit'?")
    assert answer.stderr.count("\n") == 1
