"""Which runs are unfinished, and which configs are the same."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from wemoe_pl.errors import ConfigError
from wemoe_pl.resuming import clear, first_change, unfinished_run
from wemoe_pl.run_checkpoint import ENDED, IDENTITY, last_checkpoint

RECIPE: dict[str, Any] = {
    "out": "a",
    "model": {"init_args": {"learning_rate": 0.1, "merge": {}}},
    "tasks": ["cars", "dtd"],
    "trainer": {"max_steps": 5, "devices": 1, "logger": {"init_args": {"save_dir": "a"}}},
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


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The folder of a run that was interrupted."""
    last_checkpoint(tmp_path).parent.mkdir()
    last_checkpoint(tmp_path).touch()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(RECIPE))
    return tmp_path


def test_an_unfinished_run_of_the_same_config_is_gone_on_with(out: Path) -> None:
    assert unfinished_run(out, RECIPE) == last_checkpoint(out)
    elsewhere = changed(out="b", trainer__devices=8, trainer__logger=False, quiet=True)
    assert unfinished_run(out, elsewhere) == last_checkpoint(out)


def test_a_finished_run_or_none_is_not_gone_on_with(out: Path, tmp_path: Path) -> None:
    save(last_checkpoint(out), ended=True)
    (out / "results.json").touch()
    assert unfinished_run(out, changed(trainer__max_steps=9)) is None
    assert unfinished_run(tmp_path / "empty", RECIPE) is None


def test_a_run_that_was_scored_in_the_middle_is_unfinished(out: Path) -> None:
    save(last_checkpoint(out), ended=False)
    (out / "results.json").touch()
    assert unfinished_run(out, RECIPE) == last_checkpoint(out)


def save(path: Path, ended: bool) -> None:
    torch.save({IDENTITY: {}, "callbacks": {"LastCheckpoint": {ENDED: ended}, "Curves": {}}}, path)


def test_only_what_is_gone_on_with_stays(out: Path, tmp_path: Path) -> None:
    last, other = last_checkpoint(out), tmp_path / "other.ckpt"
    leftovers = [out / ".results.12.part.json", last.with_name(".last.7.part.ckpt")]
    leftovers.append(out / "logs" / ".metrics.7.part.csv")
    kept = [out / ".film.partial", out / "other" / ".results.12.part.json", last]
    for path in (*leftovers, *kept):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    clear(out, last)
    assert not any(path.exists() for path in leftovers)
    assert all(path.exists() for path in kept)
    clear(out, other)
    assert not last.exists()
    last.touch()
    clear(out, None)
    assert not last.exists()


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"model__init_args__learning_rate": 0.2}, "learning_rate was 0.1 and is now 0.2"),
        ({"tasks": ["dtd", "cars"]}, r"tasks was \['cars', 'dtd'\] and is now \['dtd', 'cars'\]"),
        (
            {"model__init_args__merge": {"class_path": "TIES"}},
            "merge.class_path was None and is now TIES",
        ),
        ({"model__init_args__merge": None}, "merge was {} and is now None"),
        ({"trainer": {}}, "trainer.max_steps was 5 and is now None"),
    ],
)
def test_an_unfinished_run_of_another_config_is_refused(
    out: Path, other: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=rf"unfinished run .*: .*{named}\. .*--out.* --fresh"):
        unfinished_run(out, changed(**other))


def test_an_unfinished_run_without_its_config_is_refused(out: Path) -> None:
    (out / "config.yaml").unlink()
    with pytest.raises(ConfigError, match=r"config\.yaml is missing\. Give another --out"):
        unfinished_run(out, RECIPE)


@pytest.mark.parametrize("damaged", ["a: [", "- out", "", "a: \0", BOMB, b"\xff"])
def test_an_unfinished_run_whose_config_is_damaged_is_refused(
    out: Path, damaged: str | bytes
) -> None:
    contents = damaged if isinstance(damaged, bytes) else damaged.encode()
    (out / "config.yaml").write_bytes(contents)
    with pytest.raises(ConfigError, match=r"config\.yaml is damaged\. Give another --out"):
        unfinished_run(out, RECIPE)


def test_what_may_change_the_scores_is_looked_at_and_what_finds_mistakes_is_not() -> None:
    def of(size: int, anomalies: bool) -> dict[str, Any]:
        data = {"init_args": {"test_batch_size": size}}
        return {"data": data, "trainer": {"detect_anomaly": anomalies}}

    assert first_change(of(1, False), of(1, True)) == ""
    change = first_change(of(1, False), of(2, False))
    assert change == "data.init_args.test_batch_size was 1 and is now 2"


def test_only_whole_keys_are_of_no_matter() -> None:
    assert first_change({"outer": 1}, {"outer": 2}) == "outer was 1 and is now 2"
