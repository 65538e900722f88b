import types
from collections.abc import Callable
from pathlib import Path
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


@pytest.mark.parametrize("given", ["option", "config"])
def test_a_key_that_gets_its_value_from_another_is_refused_wherever_it_is_given(
    given: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("data: {init_args: {seed: 5}}")
    options = ["--data.seed", "5"] if given == "option" else ["--config", str(own)]
    assert main(["fit", "--config", "adapt_miniature", *options, "--out", str(tmp_path / "a")]) == 1
    sentence = (
        "data.seed has the value of 'seed_everything', and cannot be given by itself: give "
        "seed_everything instead.\n"
    )
    beginning = f"wemoe-pl: {own}: " if given == "config" else "wemoe-pl: "
    assert capsys.readouterr().err == beginning + sentence
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("is_first", [True, False])
def test_a_part_of_a_suite_is_changed_wherever_the_suite_is_named(
    is_first: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    named, part = ["--suite", "miniature"], ["--suite.experts.mnist", "mine.safetensors"]
    order = [*named, *part] if is_first else [*part, *named]
    with pytest.raises(SystemExit):
        main(["fit", "--config", "adapt_vitb32", *order, "--print_config"])
    suite = yaml.safe_load(capsys.readouterr().out)["suite"]
    assert (suite["name"], suite["experts"]["mnist"]) == ("miniature", "mine.safetensors")
    assert suite["experts"]["svhn"].startswith("shipped:")
