"""What is printed, warned of or logged cannot steer a terminal."""

import io
import logging
import shlex
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator

import pytest

from wemoe_pl.errors import DataError, WeMoEError
from wemoe_pl.system.terminal import guard_output, harmless, say
from wemoe_pl.system.warn import WeMoEWarning

STEERING = ["\x1b[2J", "\x1b]8;;file:///etc\x07", "\r", "\b", "\x9b2J", "\u202e", "\udcff", "\x00"]


@pytest.mark.parametrize("sign", STEERING, ids=ascii)
def test_what_steers_a_terminal_is_replaced(sign: str) -> None:
    made = harmless(f"a{sign}é\tका\n")
    assert made.startswith("a\N{REPLACEMENT CHARACTER}")
    assert made.endswith("é\tका\n")
    assert not set(made) & {"\x1b", "\x07", "\r", "\b", "\x9b", "\u202e", "\udcff", "\x00"}


def test_an_error_holds_the_true_text_and_is_printed_harmlessly() -> None:
    error: WeMoEError = DataError("There is no file a\x1b[2Jb.")
    assert str(error) == "There is no file a\x1b[2Jb."
    file = io.StringIO()
    say("wemoe-pl:", error, file=file)
    assert file.getvalue() == "wemoe-pl: There is no file a\N{REPLACEMENT CHARACTER}[2Jb.\n"


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What `guard_output` changes, for one test."""
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    factory = logging.getLogRecordFactory()
    guard_output.__wrapped__()
    yield
    logging.setLogRecordFactory(factory)


@pytest.mark.usefixtures("guarded")
def test_a_warning_is_shown_harmlessly() -> None:
    shown = warnings.formatwarning("2 images of a\x1b[2Jb.", UserWarning, "a\x1b.py", 1, "")
    assert "images of a\N{REPLACEMENT CHARACTER}[2Jb." in shown
    assert "\x1b" not in shown


@pytest.mark.usefixtures("guarded")
def test_a_warning_of_ours_is_one_plain_line() -> None:
    shown = warnings.formatwarning("2 images of a\x1b[2Jb.", WeMoEWarning, "a.py", 1, "pass")
    assert shown == "wemoe-pl: warning: 2 images of a\N{REPLACEMENT CHARACTER}[2Jb.\n"


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("arguments", [("in a\x1b[2Jb",), ("in %s", "a\x1b[2Jb")], ids=ascii)
def test_a_line_of_a_log_is_harmless(arguments: tuple[str, ...]) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("of.another.library")
    logger.addHandler(handler)
    try:
        logger.warning(*arguments)
    finally:
        logger.removeHandler(handler)
    assert stream.getvalue() == "in a\N{REPLACEMENT CHARACTER}[2Jb\n"


@pytest.mark.usefixtures("guarded")
def test_what_a_library_logs_wrongly_is_its_own_affair() -> None:
    record = logging.getLogRecordFactory()("x", 30, "x.py", 1, "%d images", ("many",), None)
    assert record.args == ("many",)


PRINTS = """
import sys
from wemoe_pl.system.console import Console
from wemoe_pl.system.terminal import flushed_quietly, say
with flushed_quietly():
    for number in range(9999):
        {act}
"""


@pytest.mark.parametrize(
    "act", ["say(number)", "print(number)", "Console().print(number)", "sys.stdout.write('x')"]
)
def test_where_nobody_reads_any_more_a_program_ends_without_a_word(act: str) -> None:
    command = [sys.executable, "-c", PRINTS.format(act=act)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (128 + signal.SIGPIPE, b"")


def test_a_program_without_output_prints_nothing() -> None:
    script = f"exec {sys.executable} -c {shlex.quote(PRINTS.format(act='say(number)'))} >&-"
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
