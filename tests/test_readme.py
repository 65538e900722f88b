"""What the README tells a newcomer to type works."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from wemoe_pl.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands(program: str) -> list[str]:
    lines = "\n".join(blocks("console")).replace("\\\n", " ").splitlines()
    return [line.partition("#")[0].strip() for line in lines if re.match(rf"\S*{program} ", line)]


def test_the_readme_gives_the_two_commands_first() -> None:
    assert [line.split()[1] for line in blocks("console")[0].splitlines()] == ["demo", "test"]


@pytest.mark.parametrize("command", commands("make"))
def test_every_make_target_exists(command: str) -> None:
    target = shlex.split(command)[1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", commands("wemoe-pl"))
def test_every_command_is_understood(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "runs" / "wemoe" / "config.yaml"
    config.parent.mkdir(parents=True)
    shipped = ROOT / "configs"
    text = (shipped / "adapt_miniature.yaml").read_text()
    config.write_text(text.replace("suites/", f"{shipped}/suites/"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["wemoe-pl"])
    with pytest.raises(SystemExit) as finished:
        main([*shlex.split(command)[1:], "--print_config"])
    assert finished.value.code == 0


def test_the_snippets_run(
    tiny_suite_yaml: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["wemoe-pl"])
    demo = ["fit", "--config", "adapt_miniature.yaml", "--out", "runs/demo"]
    tiny = ["--suite", str(tiny_suite_yaml), "--trainer.max_steps", "1"]
    assert main([*demo, *tiny, "--trainer.val_check_interval", "1"]) == 0
    for snippet in blocks("python"):
        exec(snippet, {})
