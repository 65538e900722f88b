"""Names of classes and tasks are read as they are written, and nothing else is changed."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonargparse import get_loader

from wemoe_pl.system.configs import SHIPPED_CONFIGS
from wemoe_pl.system.plain_yaml import load_plain
from wemoe_pl.system.yaml_names import LOADER, quote_names

WORDS = [
    "yes", "no", "on", "off", "true", "False", "y", "n", "null", "Null", "~", "1", "-1", "+1",
    "00", "007", "08", "0x10", "0o7", "0b1", "1_000", "1e3", "1.0", "1.", ".5", ".inf", ".nan",
    "12:30", "1:2.5", "2024", "2024-01-01", "2024-02-31", "=", "<<", "it's", "a b", "C++", "+",
    "123456789012345678901234567890", "é", "😀", "का",
]  # fmt: skip
EVERY_WORD = pytest.mark.parametrize("word", WORDS)
READERS = pytest.mark.parametrize("reader", [yaml.safe_load, get_loader("yaml")])


@EVERY_WORD
@READERS
@pytest.mark.parametrize("key", ["class_names", "init_args.class_names", "label_names", "tasks"])
def test_an_item_of_a_list_of_names_is_text(word: str, reader: Any, key: str) -> None:
    for text in (f"{key}: [{word}, {word}]", f"{key}:\n- {word}\n- {word}  # {word}\n"):
        assert load_plain(text, reader) == {key: [word, word]}


@pytest.mark.parametrize("word", [word for word in WORDS if word != "<<"])  # a key that merges
@READERS
@pytest.mark.parametrize("key", ["tasks", "experts", "heads"])
def test_a_key_of_tasks_is_text(word: str, reader: Any, key: str) -> None:
    for text in (f"{key}: {{{word}: 1}}", f"{key}:\n  ? {word}\n  : 1\n", f"{key}:\n  {word}: 1"):
        assert load_plain(text, reader) == {key: {word: 1}}


@EVERY_WORD
@READERS
@pytest.mark.parametrize("key", ["task", "name"])
def test_a_name_is_text_unless_there_is_none(word: str, reader: Any, key: str) -> None:
    expected = None if word.lower() in ("null", "~") else word
    assert load_plain(f"{key}: {word}\nseed: 1", reader) == {key: expected, "seed": 1}


@EVERY_WORD
def test_what_is_dumped_is_read_as_the_same_names(word: str) -> None:
    suite = {"name": word, "tasks": {word: {"class_names": [word, "cat"]}}, "heads": {word: "x"}}
    for dump in (yaml.safe_dump, yaml.dump):
        assert load_plain(dump(suite)) == suite


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("class_names: null", {"class_names": None}),
        ("class_names: ['1', \"2\"]", {"class_names": ["1", "2"]}),
        ("tasks:\n- - 1\n", {"tasks": [[1]]}),
        ("tasks: {1: {depth: 2, on: off}}", {"tasks": {"1": {"depth": 2, True: False}}}),
        ("class_names: [&x 1, *x]", {"class_names": ["1", "1"]}),
        ("a: &x {1: b}\nheads: {<<: *x, 2: c}", {"a": {1: "b"}, "heads": {1: "b", "2": "c"}}),
        ("\ufeffclass_names: [é, 1, yes]", {"class_names": ["é", "1", "yes"]}),
        ("class_names: [two\n  lines, 1]", {"class_names": ["two lines", "1"]}),
        ("class_names:\r\n- 1\r\n- no\r\n", {"class_names": ["1", "no"]}),
        ("class_names:\n-\n- 1", {"class_names": [None, "1"]}),
        ("- 1\n- tasks: [1]", [1, {"tasks": ["1"]}]),
        ("[1, yes]", [1, True]),
        (
            "max_time: 1:12:00:00\n1:30: [-2:05, +1:1:1, 3:30.5, 12:60, 9]",
            {"max_time": "1:12:00:00", "1:30": ["-2:05", "+1:1:1", "3:30.5", "12:60", 9]},
        ),
        ("{a: '1:30', b: 1:30}", {"a": "1:30", "b": "1:30"}),
        ("yes", True),
        ("", None),
    ],
)
def test_only_names_and_times_are_text(text: str, value: Any) -> None:
    assert load_plain(text) == value


@pytest.mark.parametrize("path", sorted(SHIPPED_CONFIGS.rglob("*.yaml")), ids=lambda p: p.stem)
def test_what_is_shipped_means_the_same_with_quotes(path: Path) -> None:
    text = path.read_text()
    assert yaml.safe_load(quote_names(text)) == yaml.safe_load(text)


def test_a_name_with_and_without_quotes_is_one_name() -> None:
    with pytest.raises(yaml.YAMLError, match="The YAML has the key '1' twice in line 1"):
        load_plain("heads: {1: a, '1': b}")


def test_the_events_are_those_of_the_parser_in_python() -> None:
    text = "a: [1, &x yes, *x]\n'b': |\n  long\n"
    ours, theirs = list(yaml.parse(text, LOADER)), list(yaml.parse(text, yaml.SafeLoader))
    assert [type(event) for event in ours] == [type(event) for event in theirs]
    scalars = [event.value for event in ours if isinstance(event, yaml.ScalarEvent)]
    assert scalars == ["a", "1", "yes", "b", "long\n"]


def test_what_is_no_yaml_is_an_error() -> None:
    with pytest.raises(yaml.YAMLError):
        quote_names("a: [")
