"""`wemoe-pl bench` through the command line."""

import json
from pathlib import Path

import pytest

from wemoe_pl.cli import main

SMALL = ("--shapes", "miniature", "--samples", "2", "--experts", "2", "--blocks", "1")


def test_it_prints_a_table_and_leaves_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bench"
    assert main(["bench", "layer", *SMALL, "--repeats", "1", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "loop over samples" in printed
    assert "times and sizes, not accuracy" in printed
    written = json.loads((out / "bench.json").read_text())
    assert [row["run"] for row in written["layer"]][:2] == ["plain", "WEMoE"]
    assert written["about"]["command"].startswith("wemoe-pl bench layer --shapes miniature")
    assert written["about"]["versions"]["torch"]
    assert written["about"]["seed"] == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["layers"], "no measure 'layers'. Did you mean 'layer'?"),
        (["--shapes", "vitb23"], "no shape 'vitb23'. Did you mean 'vitb32'?"),
        (["--samples", "1,x"], "--samples is '1,x': give whole numbers from 1, such as 1,2."),
        (["--depths", "3"], "--depths is '3': give whole numbers from 0"),
        (["--repeats", "0"], "--repeats is 0: give a number from 1."),
        (["--precision", "int8"], "no precision 'int8'"),
        (["--device", "cuda:99"], "device 'cuda:99'"),
        (["--speed"], "unrecognized arguments: --speed"),
    ],
)
def test_bad_input_is_told_in_one_sentence(
    args: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *args, "--out", str(tmp_path / "out")]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
