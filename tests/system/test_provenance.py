"""What a file says of how it was made."""

import json
import subprocess
from pathlib import Path

import pytest
import torch

from wemoe_pl import __version__
from wemoe_pl.system import provenance


def git(folder: Path, *command: str) -> str:
    options = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *options, *command], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in a checkout of its own, with one commit and a tag."""
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "wemoe_pl")
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-qm", "one")
    git(tmp_path, "tag", "-am", "release", "v1")
    return tmp_path


def test_the_revision_is_the_commit_and_says_whether_files_differ(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    assert provenance.revision() == commit
    (checkout / "file").write_text("two")
    assert provenance.revision() == f"{commit}-dirty"


def test_an_installed_program_has_no_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "wemoe_pl")
    assert provenance.revision() is None


def test_nor_has_one_without_git(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(checkout))
    assert provenance.revision() is None


def test_versions_and_recipe_are_text_that_can_be_read_back() -> None:
    told = provenance.provenance({"merge": "WEMoE"}, seed=3)
    assert json.loads(told["versions"])["torch"] == torch.__version__.partition("+")[0]
    assert json.loads(told["versions"])["wemoe_pl"] == __version__
    assert (json.loads(told["recipe"]), told["seed"]) == ({"merge": "WEMoE"}, "3")
