"""What is written behind --grid, and what the folders are called."""

import pytest

from wemoe_pl.cli.sweep.grid import combinations, folder_name, parse_grid, short_names
from wemoe_pl.errors import ConfigError


def test_values_stay_as_they_were_written() -> None:
    grid = parse_grid(["model.learning_rate=1e-3,0.10", "data.corruption=null,{kind: spatter}"])
    assert grid == {
        "model.learning_rate": ["1e-3", "0.10"],
        "data.corruption": ["null", '{"kind": "spatter"}'],
    }


def test_all_combinations_come_once_the_last_key_changing_fastest() -> None:
    grid = {"a": ["1", "2"], "b": ["x", "y"]}
    assert [tuple(point.values()) for point in combinations(grid)] == [
        ("1", "x"), ("1", "y"), ("2", "x"), ("2", "y"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["router_depth"], r"--grid router_depth: write KEY=A,B,C"),
        (["=1,2"], r"write KEY=A,B,C"),
        (["a="], r"--grid a has no values"),
        (["a=1", "a=2"], r"--grid a is given twice"),
        (["a=[1,2"], r"--grid a: '\[1,2' is not a list of values"),
    ],
)
def test_what_is_no_grid_is_refused(items: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_grid(items)


def test_values_are_text_and_nothing_in_them_is_made_into_an_object() -> None:
    assert parse_grid(["a=true,1,0x10"])["a"] == ["true", "1", "0x10"]
    assert parse_grid(["a=!!python/name:os.system x"])["a"] == ["x"]


def test_folders_have_names_that_any_file_system_takes_and_that_tell_them_apart() -> None:
    long = [f"[{','.join(f'task{i}' for i in range(n))}]" for n in (20, 21)]
    names = [folder_name({"tasks": value}) for value in ("[a,b]", "a/b: c", "", *long)]
    assert len(set(names)) == len(names)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789+-_=.,") for name in names)
    assert max(map(len, names)) < 100


def test_keys_that_share_their_last_part_keep_the_rest() -> None:
    assert short_names(["model.merge.keep", "data.keep", "x.y"]) == {
        "model.merge.keep": "model.merge.keep", "data.keep": "data.keep", "x.y": "y",
    }  # fmt: skip
