"""Templates are filled completely, or not at all."""

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from wemoe_pl.reporting.templates import template_in


def test_lines_of_control_leave_nothing(tmp_path: Path) -> None:
    page = "{% if yes %}\n  {% if yes %}\n{{ text }}\n  {% endif %}\n{% endif %}\n"
    (tmp_path / "page").write_text(page)
    for is_escaped, text in ((False, "<b>\n"), (True, "&lt;b&gt;\n")):
        template = template_in(tmp_path, "page", autoescape=is_escaped)
        assert template.render(yes=True, text="<b>") == text


def test_a_name_that_is_not_given_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "page").write_text("{{ text }}")
    with pytest.raises(UndefinedError, match="'text' is undefined"):
        template_in(tmp_path, "page").render()
