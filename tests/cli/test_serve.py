"""`wemoe-pl serve` says what is wrong before it loads anything."""

from pathlib import Path

import pytest
from helpers.launched import torchrun

from wemoe_pl.cli import main, serve

SENTENCES = {
    "--batch-size 0": "--batch-size is 0: give a number from 1",
    "--port many": "argument --port: invalid int value: 'many'. See wemoe-pl serve --help.",
    "--max-pixels 0": "--max-pixels is 0: give a number from 1",
    "--device gpus": "--device is 'gpus': give cpu, cuda, cuda:NUMBER, mps or auto",
    "--host nowhere.invalid": "The server cannot listen on port 8000 of nowhere.invalid: ",
    "--prot 80": "unrecognized arguments: --prot 80",
}


@pytest.mark.parametrize("options", SENTENCES)
def test_options_that_are_wrong_are_named(
    options: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["serve", str(tmp_path), *options.split()]) == 1
    assert SENTENCES[options] in capsys.readouterr().err


def test_a_model_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["serve"]) == 1
    assert "the following arguments are required: RUN" in capsys.readouterr().err


def test_a_missing_library_is_named_with_its_installation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    assert main.main(["serve", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        "wemoe-pl: A server needs LitServe: install it with `pip install 'wemoe_pl[serve]'`.\n"
    )


def test_it_is_for_one_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in torchrun(2)[0].items():
        monkeypatch.setenv(name, value)
    assert main.main(["serve", str(tmp_path)]) == 1
    assert "`wemoe-pl serve` is for one process" in capsys.readouterr().err
