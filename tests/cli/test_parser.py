import types
from collections.abc import Callable
from typing import Union, get_args, get_origin, get_type_hints

import pytest
import yaml

from wemoe_pl.cli.main import main
from wemoe_pl.cli.parser import with_nulls
from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.training.adapt import TestTimeAdaptation


def optional_of(start: Callable[..., None]) -> list[str]:
    """The arguments of a constructor that can be None."""
    unions = {n: hint for n, hint in get_type_hints(start).items() if get_origin(hint) in UNIONS}
    return [name for name, hint in unions.items() if type(None) in get_args(hint)]


UNIONS = (types.UnionType, Union)
KEYS = {
    "model.merge": optional_of(WEMoE.__init__),
    "model": optional_of(TestTimeAdaptation.__init__),
    "data": optional_of(MultiTaskData.__init__),
}
SET_BY_THE_JOB = {"model.task"}  # by --task
OPTIONAL = [
    key
    for place, names in KEYS.items()
    for name in names
    if (key := f"{place}.{name}") not in SET_BY_THE_JOB
]


def test_the_optional_keys_are_those_that_are_meant() -> None:
    assert {"model.merge.attention", "model.merge.rest", "model.objective"} <= set(OPTIONAL)


@pytest.mark.parametrize("null", ["null", "None"])
def test_every_optional_key_can_be_taken_away_on_the_command_line(
    capsys: pytest.CaptureFixture[str], null: str
) -> None:
    given = [text for key in OPTIONAL for text in (f"--{key}", null)]
    job = ["fit", "--config", "adapt_miniature", "--config", "best", *given, "--print_config"]
    with pytest.raises(SystemExit) as leaving:
        main(job)
    assert not leaving.value.code
    resolved = yaml.safe_load(capsys.readouterr().out)
    for key in OPTIONAL:
        value = resolved
        for part in ".init_args.".join(key.split(".")).split("."):
            value = value[part]
        assert value is None, key


def test_a_value_that_only_contains_none_stays_as_it_is() -> None:
    kept = ["--out", "runs/None", "--task=None/1", "None", "--tasks", "[None]", "--name", "a:None"]
    assert with_nulls(kept) == kept
    assert with_nulls(["--a=None", "--b", "None"]) == ["--a=null", "--b", "null"]
