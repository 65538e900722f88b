"""Mistakes on the command line of verbs end in one sentence."""

import pytest

from wemoe_pl.errors import ConfigError
from wemoe_pl.options import OneSentence


def test_an_error_names_the_option_and_where_help_is() -> None:
    parser = OneSentence(prog="wemoe-pl report")
    parser.add_argument("--format", choices=("csv", "latex"))
    with pytest.raises(ConfigError, match=r"--format: invalid choice.*See wemoe-pl report --help"):
        parser.parse_args(["--format", "word"])
