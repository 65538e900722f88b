"""`wemoe-pl advise`, through the console script's own function."""

import json
from pathlib import Path

import pytest
import yaml

from wemoe_pl.checkpoints import save_tensors
from wemoe_pl.cli.main import main
from wemoe_pl.data.suite import Suite


@pytest.fixture
def suite_yaml(tiny_suite: Suite, tiny_suite_yaml: Path, tmp_path: Path) -> Path:
    """A suite whose experts are near their pretrained encoder, and the present folder."""
    described = yaml.safe_load(tiny_suite_yaml.read_text())
    base = dict(tiny_suite.open_pretrained())
    for place, task in enumerate(described["experts"]):
        near = {key: (1.01 + 0.01 * place) * weight for key, weight in base.items()}
        save_tensors(tmp_path / f"{task}.safetensors", near, {})
        described["experts"][task] = str(tmp_path / f"{task}.safetensors")
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(described))
    return tmp_path / "suite.yaml"


def test_advice_is_printed_and_written(
    suite_yaml: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["advise", "--suite", str(suite_yaml), "--images", "2", "--out", str(out)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "The longest task vector (mnist) is 3.0 times as long as the shortest (cars)" in printed
    assert "merging counts them twice" in printed
    assert "advice.json" in printed
    written = json.loads((out / "advice.json").read_text("utf-8"))
    assert written["about"]["images"] == 2


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ([], "the following arguments are required: --suite. See wemoe-pl advise --help."),
        (["--suite", "minature"], "There is no suite 'minature'"),
        (["--suite", "miniature", "--images", "-2"], "--images is -2: give a number from 0."),
        (["--suite", "miniature", "--images", "few"], "invalid int value: 'few'"),
    ],
)
def test_a_mistake_ends_in_one_sentence(
    args: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["advise", *args]) == 1
    told = capsys.readouterr().err
    assert sentence in " ".join(told.split())
    assert "Traceback" not in told


def test_a_suite_of_one_good_expert_ends_in_one_sentence(
    suite_yaml: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cars.safetensors").unlink()
    (tmp_path / "dtd.safetensors").write_bytes(b"damaged")
    assert main(["advise", "--suite", str(suite_yaml), "--out", str(tmp_path / "out")]) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "of the 3 of 'tiny' only 1 can be merged ('cars': " in told
    assert not (tmp_path / "out").exists()
