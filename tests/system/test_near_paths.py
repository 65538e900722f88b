"""A path that is nearly right is answered with the one that is meant."""

from pathlib import Path

import pytest

from wemoe_pl.system.near_paths import did_you_mean_path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "demo" / "checkpoints").mkdir(parents=True)
    (tmp_path / "runs" / "demo" / "checkpoints" / "last.ckpt").touch()
    (tmp_path / "runs" / ".demos").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("runs/demmo", "runs/demo"),
        ("run/demo", "runs/demo"),
        ("rums/demoo/checkpoint/lst.ckpt", "runs/demo/checkpoints/last.ckpt"),
        ("runs/zebra", None),
        ("elsewhere/demo", None),
        ("runs/demo/checkpoints/last.ckpt/more", None),
    ],
)
@pytest.mark.parametrize("is_absolute", [False, True])
def test_every_part_may_be_nearly_right(
    given: str, meant: str | None, is_absolute: bool, here: Path
) -> None:
    folder = here if is_absolute else Path()
    assert did_you_mean_path(folder / given) == (
        f" Did you mean {folder / meant}?" if meant else ""
    )
