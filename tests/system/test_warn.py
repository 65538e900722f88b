"""A warning points to the line of the user's program; some are told once in a process."""

import runpy
import sysconfig
import warnings
from pathlib import Path

import pytest
from torch.utils._pytree import tree_map

from wemoe_pl.system.warn import WeMoEWarning, is_of_library, warn, warn_once


def test_a_warning_is_a_sentence_at_the_line_that_led_to_it() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn("2 images are skipped.")
        tree_map(lambda _: warn("It is odd."), [1])  # of a library that calls back
    assert [(str(w.message), w.category, Path(w.filename)) for w in caught] == [
        ("2 images are skipped.", WeMoEWarning, Path(__file__)),
        ("It is odd.", WeMoEWarning, Path(__file__)),
    ]
    lines = Path(__file__).read_text().splitlines()
    assert ["warn(" in lines[w.lineno - 1] for w in caught] == [True, True]


PROGRAM = """
import timm
from wemoe_pl import upscale

small = {"img_size": 32, "patch_size": 16, "embed_dim": 64, "depth": 2, "num_classes": 0}
pretrained, other = (timm.create_model("vit_tiny_patch16_224", **small, num_heads=2) for _ in "ab")
"""
CALL = 'encoder = upscale(pretrained, {"other": other})'
PROGRAM += CALL


def test_what_a_call_warns_of_deep_inside_is_shown_with_the_call(tmp_path: Path) -> None:
    program = tmp_path / "merge.py"
    program.write_text(PROGRAM)
    with pytest.warns(WeMoEWarning, match="from that one") as caught:
        runpy.run_path(str(program))
    [line] = {(w.filename, w.lineno) for w in caught if w.category is WeMoEWarning}
    assert line == (str(program), 1 + PROGRAM.splitlines().index(CALL))


def test_what_is_of_no_user_is_passed_over() -> None:
    standard, installed = sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")
    libraries = [f"{standard}/runpy.py", f"{installed}/lightning/a.py", "<frozen runpy>"]
    assert all(map(is_of_library, [*libraries, "/home/me/.local/lib/site-packages/a.py"]))
    own = ["/home/me/merge.py", "<stdin>", "/tmp/ipykernel_1/2.py", "merge.py"]
    assert not any(map(is_of_library, own))


def test_a_sentence_is_told_once_and_another_all_the_same() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for sentence in ("It is odd.", "It is odd.", "It is even."):
            warn_once(sentence)
    with warnings.catch_warnings(record=True) as again:
        warnings.simplefilter("always")
        warn_once("It is odd.")
    assert [str(warning.message) for warning in caught] == ["It is odd.", "It is even."]
    assert again == []
