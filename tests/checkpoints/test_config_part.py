"""A config of a stranger is read value by value; what is of another type is named."""

from pathlib import Path
from typing import Any

import pytest

from wemoe_pl.checkpoints.config_part import ConfigPart
from wemoe_pl.errors import CheckpointError


def config(**values: Any) -> ConfigPart:
    return ConfigPart(Path("config.json"), values)


def test_values_are_read_and_have_defaults() -> None:
    part = config(eps=1e-6, heads=3, act="gelu", quick=True, size=[32, 48], none=None)
    assert (part.number("eps", 1), part.count("heads", 1), part.text("act", "")) == (
        1e-6,
        3,
        "gelu",
    )
    assert part.flag("quick")
    assert (part.texts("none"), config(names=["a", "b"]).texts("names")) == ((), ("a", "b"))
    assert not part.flag("slow")
    assert (part.size("size", 1), part.size("heads", 1)) == ("32×48", 3)
    assert (part.count("none", 7), part.count("missing", 7), part.number("none", 0.5)) == (
        7,
        7,
        0.5,
    )
    assert part.part("none").values == {}


@pytest.mark.parametrize(
    ("read", "value", "expected"),
    [
        ("count", "4", "a number above 0"),
        ("count", 0, "a number above 0"),
        ("count", -3, "a number above 0"),
        ("count", 2.5, "a number above 0"),
        ("count", True, "a number above 0"),
        ("size", [1, 2, 3], "a number above 0"),
        ("size", ["a", "b"], "a number above 0"),
        ("number", [1e-5], "a number"),
        ("number", False, "a number"),
        ("text", 5, "a text"),
        ("text", {"a": 1}, "a text"),
    ],
)
def test_a_value_of_another_type_is_named(read: str, value: object, expected: str) -> None:
    with pytest.raises(
        CheckpointError, match=rf"config\.json is damaged: its 'x' is .*{expected}\. "
    ):
        getattr(config(x=value), read)("x", 1)


@pytest.mark.parametrize("value", [1, "yes", []])
def test_a_flag_is_true_or_false(value: object) -> None:
    with pytest.raises(CheckpointError, match="instead of true or false"):
        config(x=value).flag("x")


@pytest.mark.parametrize("value", [[], "text", 3])
def test_a_part_is_an_object(value: object) -> None:
    with pytest.raises(CheckpointError, match="instead of an object"):
        config(x=value).part("x")


def test_a_config_that_an_editor_has_marked_as_utf8_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"act": "gelu"}', encoding="utf-8-sig")
    assert ConfigPart.read(tmp_path / "config.json").text("act", "") == "gelu"


@pytest.mark.parametrize("content", ["", "{", "\xff", "[" * 10**5, "config.json"])
def test_what_is_no_json_is_told(content: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(CheckpointError, match=rf"^{path} is no JSON: copy or download it again\.$"):
        ConfigPart.read(path)


@pytest.mark.parametrize("content", ["[]", "3", '"text"', "true"])
def test_what_is_no_object_is_told(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(
        CheckpointError, match=r"config\.json is damaged: .* instead of an object\."
    ):
        ConfigPart.read(tmp_path / "config.json")


@pytest.mark.parametrize("value", ["ab", ["a", 1], {"a": "b"}])
def test_a_list_of_anything_but_texts_is_named(value: Any) -> None:
    with pytest.raises(CheckpointError, match=r"its 'x' is .* instead of a list of texts"):
        config(x=value).texts("x")
