"""YAML from strangers is plain, and bounded in what it stands for."""

from pathlib import Path

import pytest
import yaml

from wemoe_pl.system.configs import SHIPPED_CONFIGS
from wemoe_pl.system.plain_yaml import DEEPEST, LONG, MOST_VALUES, RefusedYaml, load_plain

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)
CHORUS = f"a: &a {'ha ' * 66_667}ha\n" + "".join(f"b{i}: {{c: *a}}\n" for i in range(100))


@pytest.mark.parametrize("path", sorted(SHIPPED_CONFIGS.rglob("*.yaml")), ids=lambda p: p.stem)
def test_what_is_shipped_is_plain(path: Path) -> None:
    assert load_plain(path.read_text()) == yaml.safe_load(path.read_text())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: &x [1, 2]\nb: *x", {"a": [1, 2], "b": [1, 2]}),
        ("a: &x {c: 1}\nb: {<<: *x, d: 2}", {"a": {"c": 1}, "b": {"c": 1, "d": 2}}),
        ("- {a: 1}\n- {a: 2}", [{"a": 1}, {"a": 2}]),
        ("[a, a, a]", ["a", "a", "a"]),
        ("a: {b: a}\nb: a", {"a": {"b": "a"}, "b": "a"}),
        ("a: '123456789012345678901234567890'", {"a": "123456789012345678901234567890"}),
        ("a: &x text\nb: [*x, *x]", {"a": "text", "b": ["text", "text"]}),
        ("", None),
    ],
)
def test_what_repeats_itself_within_measure_is_read(text: str, value: object) -> None:
    assert load_plain(text) == value


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "a: 1\nb: !!python/object/apply:os.system [ls]",
            "The YAML has the tag '!!python/object/apply:os.system' in line 2: use plain values.",
        ),
        ("!include other.yaml", "The YAML has the tag '!include' in line 1: use plain values."),
        ("a: 1\nb: 2\na: 3", "The YAML has the key 'a' twice in line 3: give it once."),
        ("x: {a: [], a: {}}", "The YAML has the key 'a' twice in line 1: give it once."),
        (LAUGHS, f"The YAML has more than {MOST_VALUES} values, or too much text in line 5."),
        (CHORUS, f"The YAML has more than {MOST_VALUES} values, or too much text in line 50."),
        (
            f"a: {'x' * LONG * MOST_VALUES}",
            f"The YAML has more than {MOST_VALUES} values, or too much text in line 1.",
        ),
        ("a: &a [*a]", "The YAML's '*a' in line 1 stands for nothing, or for itself."),
        ("[" * 500, f"The YAML is nested deeper than {DEEPEST} levels in line 1."),
        (
            f"seed: {'9' * 5000}",
            "The YAML has a number of more than 64 bits in line 1: put quotes around it if it is a "
            "name.",
        ),
        (
            "a: 2026-02-31",
            "The YAML has a value that cannot be read: day ",  # what Python says of it
        ),
    ],
    ids=[
        "python",
        "include",
        "twice",
        "inner",
        "laughs",
        "chorus",
        "long",
        "itself",
        "deep",
        "huge",
        "date",
    ],
)
def test_what_is_not_plain_is_refused_with_its_line(text: str, sentence: str) -> None:
    with pytest.raises(RefusedYaml) as refused:
        load_plain(text)
    assert str(refused.value).startswith(sentence)


def test_any_depth_is_refused_by_ours_or_by_the_limit_of_pyyaml() -> None:
    with pytest.raises(yaml.YAMLError, match=r"nested deeper|maximum nesting depth"):
        load_plain("[" * 20_000)


@pytest.mark.parametrize("text", ["a: 'b", "a: [", "\x00", "{[1]: 2}", "a: 1\n---\nb: 2"])
def test_what_is_no_yaml_is_an_error_of_yaml(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        load_plain(text)
