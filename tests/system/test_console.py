"""Tables and lines are only text, and a bar is drawn on a terminal, and nowhere else."""

import io

import pytest
from rich.table import Table

from wemoe_pl.system.console import Console, has_terminal, progress


def printed(*what: object) -> str:
    """What a terminal of 60 columns gets."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=60, color_system="truecolor")
    console.print(*what)
    return file.getvalue()


@pytest.mark.parametrize(
    "name",
    ["a\x1b[2Jb", "[red]a[/red]", "[link=file:///etc/passwd]a[/link]", "[/]", ":smile:", "3 \\[x]"],
)
def test_a_name_is_only_text_in_lines_and_tables(name: str) -> None:
    shown = name.replace("\x1b", "\N{REPLACEMENT CHARACTER}")
    assert printed(f"Task {name} of 5") == f"Task {shown} of 5\n"
    table = Table(name, title=f"Accuracy of {name}", caption=name, box=None, min_width=60)
    table.add_row(name)
    lines = printed(table)
    assert lines.count(shown) == 4
    assert name not in lines or shown == name


def test_what_is_drawn_again_and_again_still_is() -> None:
    file = io.StringIO()
    with Console(file=file, force_terminal=True).status("Measuring \x1b[2J"):
        pass
    assert "\x1b[2K" in file.getvalue()  # of rich, which erases its line
    assert "\x1b[2J" not in file.getvalue()


def test_a_file_is_no_terminal() -> None:
    assert not has_terminal(file=io.StringIO())
    assert has_terminal(file=io.StringIO(), force_terminal=True)


@pytest.mark.parametrize("forced", [True, False])
def test_progress_is_drawn_only_on_a_terminal(
    forced: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("wemoe_pl.system.console.has_terminal", lambda: forced)
    assert list(progress(iter("abc"), "Letters", total=3)) == ["a", "b", "c"]
    assert ("Letters" in capsys.readouterr().out) == forced
