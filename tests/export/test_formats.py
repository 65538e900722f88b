"""The table of formats has a row for every name that the command line knows."""

from wemoe_pl.export.formats import FORMATS_BY_NAME
from wemoe_pl.export.names import EXPORT_FORMATS


def test_the_command_line_knows_all_formats() -> None:
    assert tuple(FORMATS_BY_NAME) == EXPORT_FORMATS
