"""A config is found by its path, or by the bare name of a shipped one, from any folder."""

from pathlib import Path

import pytest

from wemoe_pl.errors import ConfigError
from wemoe_pl.system import configs
from wemoe_pl.system.configs import find_config, find_suite, shipped_configs, shipped_trainers


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two shipped configs; the working folder is another."""
    folder, elsewhere = tmp_path / "configs", tmp_path / "elsewhere"
    for path in (folder / "suites", folder / "trainer", elsewhere):
        path.mkdir(parents=True)
    jobs = ("adapt_vitb32.yaml", "adapt_vitl14.yaml")
    for name in (*jobs, "suites/vitb32.yaml", "trainer/ddp.yaml", "README.md"):
        (folder / name).touch()
    monkeypatch.setattr(configs, "SHIPPED_CONFIGS", folder)
    monkeypatch.chdir(elsewhere)
    return folder


def test_the_miniature_is_shipped() -> None:
    assert "adapt_miniature.yaml" in shipped_configs()
    assert Path(find_config("adapt_miniature")).is_file()


def test_shipped_jobs_are_listed_without_the_suites_that_they_use(shipped: Path) -> None:
    assert shipped_configs() == ["adapt_vitb32.yaml", "adapt_vitl14.yaml"]


@pytest.mark.parametrize("name", ["adapt_vitb32", "adapt_vitb32.yaml"])
def test_a_shipped_config_is_found_by_its_bare_name(name: str, shipped: Path) -> None:
    assert find_config(name) == str(shipped / "adapt_vitb32.yaml")


def test_a_shipped_suite_is_found_by_its_folder(shipped: Path) -> None:
    assert find_config("suites/vitb32") == str(shipped / "suites" / "vitb32.yaml")


def test_settings_of_a_trainer_are_found_by_their_folder(shipped: Path) -> None:
    assert shipped_trainers() == ["trainer/ddp.yaml"]
    for name in ("trainer/ddp", "trainer/ddp.yaml"):
        assert find_config(name) == str(shipped / "trainer" / "ddp.yaml")
    with pytest.raises(ConfigError, match=r"no config 'trainer/dpd'.* Did you mean 'trainer/ddp'"):
        find_config("trainer/dpd")


def test_a_path_is_taken_as_it_is(shipped: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.touch()
    assert find_config(str(mine)) == str(mine)


def test_a_file_in_the_working_folder_wins_over_a_shipped_one(shipped: Path) -> None:
    Path("adapt_vitb32.yaml").touch()
    assert find_config("adapt_vitb32.yaml") == "adapt_vitb32.yaml"


def test_a_folder_is_no_config(shipped: Path) -> None:
    Path("adapt_vitb32").mkdir()
    assert find_config("adapt_vitb32") == str(shipped / "adapt_vitb32.yaml")
    with pytest.raises(ConfigError, match=r"There is no config 'suites'"):
        find_config("suites")


@pytest.mark.usefixtures("shipped")
def test_the_folder_of_a_run_is_answered_with_its_config() -> None:
    Path("runs/demo").mkdir(parents=True)
    Path("runs/demo/config.yaml").touch()
    with pytest.raises(ConfigError, match=r"folder of a run: give its config, runs/demo/config"):
        find_config("runs/demo")


def test_an_unknown_config_is_answered_with_the_nearest(shipped: Path) -> None:
    with pytest.raises(ConfigError) as error:
        find_config("adapt_vitb23")
    assert str(error.value) == (
        f"There is no config 'adapt_vitb23', neither here ({Path.cwd()}) nor among the shipped "
        "ones. Did you mean 'adapt_vitb32'? Valid names: adapt_vitb32, adapt_vitl14."
    )


def test_suites_are_found_by_name_or_path(tmp_path: Path) -> None:
    assert Path(find_suite("miniature")).name == "miniature.yaml"
    assert find_suite("miniature.yaml") == find_suite("miniature")
    own = tmp_path / "own.yaml"
    own.write_text("name: own")
    assert find_suite(str(own)) == str(own)
    with pytest.raises(ConfigError, match=r"no suite 'clip_vitb31'.*Did you mean 'clip_vitb32'\?"):
        find_suite("clip_vitb31")
