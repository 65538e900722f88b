"""A bar is drawn on a terminal, and nowhere else."""

import io

import pytest

from wemoe_pl.system.terminal import has_terminal, progress


def test_a_file_is_no_terminal() -> None:
    assert not has_terminal(file=io.StringIO())
    assert has_terminal(file=io.StringIO(), force_terminal=True)


@pytest.mark.parametrize("forced", [True, False])
def test_progress_is_drawn_only_on_a_terminal(
    forced: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("wemoe_pl.system.terminal.has_terminal", lambda: forced)
    assert list(progress(iter("abc"), "Letters", total=3)) == ["a", "b", "c"]
    assert ("Letters" in capsys.readouterr().out) == forced
