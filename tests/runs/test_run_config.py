"""What is read of a run's resolved config, and what is refused."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

from wemoe_pl.errors import CheckpointError
from wemoe_pl.export.loading import load
from wemoe_pl.runs.run_config import RunConfig, read_run_config

CONFIG: dict[str, Any] = {
    "model": {"class_path": "wemoe_pl.TestTimeAdaptation", "init_args": {"merge": {}}},
    "suite": {"name": "s"}, "trainer": {"max_steps": 3}, "out": "a", "tasks": None, "unseen": [],
}  # fmt: skip
KEPT = Path(__file__).parent.parent / "kept" / "dotted_names"


def write(tmp_path: Path, **changes: Any) -> Path:
    """A config that `...` leaves fields out of."""
    config = {name: value for name, value in {**CONFIG, **changes}.items() if value is not ...}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_a_config_is_read_as_it_was_written(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_run_config(write(tmp_path)) == CONFIG
        for run in ("fitted", "interrupted"):
            assert read_run_config(KEPT / run / "config.yaml")["seed_everything"] == 0


@pytest.mark.parametrize("field", sorted(RunConfig.__required_keys__))
def test_a_missing_field_is_named(field: str, tmp_path: Path) -> None:
    path = write(tmp_path, **{field: ...})
    with pytest.raises(CheckpointError, match=rf"config\.yaml is damaged .* '{field}' is missing"):
        read_run_config(path)


@pytest.mark.parametrize("field", sorted(RunConfig.__annotations__))
def test_a_field_of_another_type_is_named(field: str, tmp_path: Path) -> None:
    path = write(tmp_path, **{field: [[1.5]]})
    with pytest.raises(CheckpointError, match=rf"config\.yaml is damaged .* '{field}") as refusal:
        read_run_config(path)
    assert "should be" in str(refusal.value)


@pytest.mark.parametrize("model", [{}, {"class_path": 3}, {"class_path": "a", "init_args": "b"}])
def test_a_model_that_is_none_is_not_loaded(model: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path, model=model)
    with pytest.raises(CheckpointError, match=r"'model\.(class_path|init_args)' is"):
        load(tmp_path)


def test_a_field_of_a_later_version_is_warned_of(tmp_path: Path) -> None:
    with pytest.warns(
        UserWarning, match=r"config\.yaml has the field 'pruning', which this version"
    ):
        assert read_run_config(write(tmp_path, pruning=3))["pruning"] == 3
