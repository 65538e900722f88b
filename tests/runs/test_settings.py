"""Which settings make a run what it is, and where two configs differ."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from wemoe_pl.runs.settings import difference, digest_of, first_change, read_settings

RECIPE: dict[str, Any] = {
    "out": "a",
    "seed_everything": 0,
    "model": {"init_args": {"learning_rate": 0.1, "merge": {}}},
    "tasks": ["cars", "dtd"],
    "data": {"init_args": {"test_batch_size": 1}},
    "trainer": {"max_steps": 5, "devices": 1, "logger": {"init_args": {"save_dir": "a"}}},
    "suite": {
        "pretrained": "base.safetensors",
        "experts": {"cars": "cars.safetensors", "dtd": "dtd.safetensors"},
        "tasks": {"cars": {"class_path": "Mine", "init_args": {"test": "/data/cars", "top": 3}}},
    },
}
BOMB = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{f'*a{i - 1}, ' * 10}]\n" for i in range(1, 9))


def changed(**values: Any) -> dict[str, Any]:
    """The recipe with other values, by dotted key with `__` for a dot."""
    recipe: dict[str, Any] = yaml.safe_load(yaml.safe_dump(RECIPE))
    for key, value in values.items():
        *above, last = key.split("__")
        place = recipe
        for name in above:
            place = place.setdefault(name, {})
        place[last] = value
    return recipe


@pytest.mark.parametrize(
    "values",
    [
        {"out": "b", "trainer__devices": 8, "trainer__logger": False, "quiet": True},
        {"suite__pretrained": "/scratch/job7/base.safetensors"},
        {"suite__experts__cars": "/scratch/job7/cars.safetensors"},
        {"suite__tasks__cars__init_args__test": "/scratch/job7/cars"},
        {"trainer__detect_anomaly": True, "data__init_args__num_workers": 9},
    ],
)
def test_where_and_how_a_run_is_made_is_of_no_matter(values: dict[str, Any]) -> None:
    other = changed(**values)
    assert first_change(RECIPE, other) == ""
    assert digest_of(RECIPE) == digest_of(other)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"model__init_args__learning_rate": 0.2}, "learning_rate was 0.1 and is now 0.2"),
        ({"seed_everything": 5}, "seed_everything was 0 and is now 5"),
        ({"tasks": ["dtd", "cars"]}, "tasks was ['cars', 'dtd'] and is now ['dtd', 'cars']"),
        (
            {"model__init_args__merge": {"class_path": "T"}},
            "merge.class_path was None and is now T",
        ),
        ({"model__init_args__merge": None}, "merge was {} and is now None"),
        ({"trainer": {}}, "trainer.max_steps was 5 and is now None"),
        ({"suite__tasks__cars__init_args__top": 4}, "init_args.top was 3 and is now 4"),
        ({"suite__tasks__cars__init_args__test": None}, "test was /data/cars and is now None"),
        ({"data__init_args__test_batch_size": 2}, "test_batch_size was 1 and is now 2"),
    ],
)
def test_the_first_key_that_has_changed_is_named(values: dict[str, Any], named: str) -> None:
    other = changed(**values)
    assert first_change(RECIPE, other).endswith(named)
    assert digest_of(RECIPE) != digest_of(other)


def test_a_run_that_was_finished_by_an_earlier_version_is_known_again() -> None:
    assert digest_of(RECIPE) == "e1913250c15b7b0328c5f2910911fafcc700e91cd98f94a46d20616d8b484696"


@pytest.mark.parametrize(
    ("merge", "rate"),
    [({}, {}), ({"combine": "mean"}, {"schedule": "cosine"}), ({"combine": "sum"}, {}),
     ({}, {"schedule": "constant"})],
)  # fmt: skip
def test_an_option_that_came_later_matters_where_it_changes_something(
    merge: dict[str, Any], rate: dict[str, Any]
) -> None:
    def recipe(merge: dict[str, Any], rate: dict[str, Any]) -> dict[str, Any]:
        ties = {"class_path": "wemoe_pl.merging.ties.TIES", "init_args": {"keep": 0.2, **merge}}
        options = {"merge": ties, **rate}
        return {"model": {"class_path": "wemoe_pl.TestTimeAdaptation", "init_args": options}}

    earlier, later = recipe({}, {}), recipe(merge, rate)
    is_same = "sum" not in merge.values() and "constant" not in rate.values()
    assert (first_change(earlier, later) == "") == is_same
    assert (digest_of(earlier) == digest_of(later)) == is_same


def adapted(**options: Any) -> dict[str, Any]:
    return {"model": {"class_path": "wemoe_pl.TestTimeAdaptation", "init_args": options}}


def objective(name: str, **options: Any) -> dict[str, Any]:
    return {"class_path": name, **({"init_args": options} if options else {})}


PLAIN = {"diversity": 0.0, "reliable": None}
MAXIMISED = "wemoe_pl.InformationMaximisation"


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({}, {"objective": None}),
        ({}, {"objective": objective("wemoe_pl.Entropy")}),
        ({}, {"objective": objective("wemoe_pl.training.objectives.entropy.Entropy")}),
        ({"diversity": 1.0}, {"objective": objective(MAXIMISED)}),
        ({"diversity": 0.5}, {"diversity": 0.5, "objective": objective("wemoe_pl.Entropy")}),
        (
            {"diversity": 2.0, "reliable": 0.4},
            {"objective": objective(MAXIMISED, diversity=2.0, reliable=0.4)},
        ),
    ],
)
def test_an_objective_that_could_be_had_before_makes_no_difference(
    before: dict[str, Any], now: dict[str, Any]
) -> None:
    was, is_ = adapted(**PLAIN | before), adapted(**PLAIN | now)
    assert first_change(was, is_) == first_change(is_, was) == ""
    assert digest_of(was) == digest_of(is_)


@pytest.mark.parametrize(("option", "is_same"), [(True, True), (False, False)])
def test_an_objective_that_had_no_options_is_known_again(option: bool, is_same: bool) -> None:
    name = "wemoe_pl.ExpertLabels"
    was = adapted(objective=objective(name))
    is_ = adapted(objective=objective(name, trusted_only=option))
    assert (first_change(was, is_) == "") == is_same
    assert (digest_of(was) == digest_of(is_)) == is_same


@pytest.mark.parametrize(("score", "is_same"), [("information", True), ("agreement", False)])
def test_a_key_that_came_later_matters_where_it_changes_something(
    score: str, is_same: bool
) -> None:
    was, is_ = ({"guard": {"action": "restore", **own}} for own in ({}, {"score": score}))
    assert (first_change(was, is_) == "") == is_same
    assert (digest_of(was) == digest_of(is_)) == is_same


@pytest.mark.parametrize(
    ("now", "named"),
    [
        ({"objective": objective("mine.Own", scale=2)}, "objective was None and is now {'class_pa"),
        ({"objective": objective(MAXIMISED, diversity=0.5)}, "diversity was 0.0 and is now 0.5"),
    ],
)
def test_another_objective_is_a_change(now: dict[str, Any], named: str) -> None:
    was, is_ = adapted(**PLAIN), adapted(**PLAIN | now)
    assert named in first_change(was, is_)
    assert digest_of(was) != digest_of(is_)


def test_the_order_of_experts_matters_as_routers_are_trained_in_it() -> None:
    other = changed()
    other["suite"]["experts"] = dict(reversed(RECIPE["suite"]["experts"].items()))
    assert digest_of(RECIPE) != digest_of(other)
    change = "the order of suite.experts was ['cars', 'dtd'] and is now ['dtd', 'cars']"
    assert first_change(RECIPE, other) == change


def test_only_whole_keys_are_of_no_matter() -> None:
    assert first_change({"outer": 1}, {"outer": 2}) == "outer was 1 and is now 2"


def test_a_config_that_is_missing_is_another_one(tmp_path: Path) -> None:
    assert difference(tmp_path / "config.yaml", RECIPE) == "config.yaml is missing"


@pytest.mark.parametrize("damaged", ["a: [", "- out", "", "a: \0", BOMB, b"\xff"])
def test_a_config_that_is_damaged_is_another_one(damaged: str | bytes, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
    assert read_settings(config) is None
    assert difference(config, RECIPE) == "config.yaml is damaged"


def test_a_config_is_compared_with_what_was_written(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"# a comment\n{yaml.safe_dump(changed(out='elsewhere'))}")
    assert difference(config, RECIPE) == ""
    assert difference(config, changed(trainer__max_steps=6)) == (
        "trainer.max_steps was 5 and is now 6"
    )


def test_another_suite_is_named_before_what_the_trainer_is_told() -> None:
    then: Any = {"trainer": {"max_steps": 20}, "suite": {"name": "mine"}, 1: "a"}
    now: Any = {"trainer": {"max_steps": 200}, "suite": {"name": "miniature"}, 1: "a"}
    assert first_change(then, now) == "suite.name was mine and is now miniature"
