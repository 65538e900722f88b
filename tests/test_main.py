"""Real processes: the answer to `--version` without torch, and an error of one line."""

import subprocess
import sys

from wemoe_pl import __version__


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)


def test_the_version_is_printed_without_importing_torch() -> None:
    script = (
        "import sys; sys.argv = ['wemoe-pl', '--version'];"
        "from wemoe_pl.__main__ import main; status = main();"
        "sys.exit(status or sorted({'torch', 'lightning', 'timm'} & set(sys.modules)) or 0)"
    )
    answer = run("-c", script)
    assert (answer.returncode, answer.stdout) == (0, f"wemoe-pl {__version__}\n")


def test_a_mistake_ends_in_one_line_and_a_status() -> None:
    answer = run("-m", "wemoe_pl", "fti", "--config", "adapt_miniature")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.startswith("wemoe-pl: There is no command 'fti'. Did you mean 'fit'?")
    assert answer.stderr.count("\n") == 1
