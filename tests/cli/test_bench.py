"""Options of the benchmark that make no sense."""

from pathlib import Path

import pytest

from wemoe_pl.cli.main import main


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
