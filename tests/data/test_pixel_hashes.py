"""Images that look otherwise than when a run read them are noticed."""

from pathlib import Path
from typing import Any

import pytest
import torch

from wemoe_pl.data.pixel_hashes import Contents
from wemoe_pl.data.streams import Seen, hash_of
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import Images
from wemoe_pl.errors import CheckpointError, DataError


@pytest.fixture
def images(tiny_suite: Suite) -> Images:
    return tiny_suite.tasks["cars"].images("test")


@pytest.fixture
def contents(images: Images) -> Contents:
    contents = Contents()
    contents.expect("cars", images)
    return contents


def test_an_image_that_is_read_again_must_look_as_before(
    contents: Contents, images: Images
) -> None:
    contents.note(Seen("cars", [3, 1], [30, 10]))
    contents.note(Seen("cars", [1, 2], [10, 20]))
    assert contents.known["cars"].tolist()[:4] == [0, 10, 20, 30]
    with pytest.raises(DataError) as error:
        contents.note(Seen("cars", [2, 3], [20, 31]))
    assert str(error.value) == (
        f"{images.name(3)} has changed since this run first read it: put the old image back, or "
        "begin anew with --fresh."
    )


def test_what_is_kept_is_recalled_by_a_run_of_the_same_images(
    contents: Contents, images: Images
) -> None:
    contents.note(Seen("cars", [0], [7]))
    kept = contents.of_all_processes(torch.device("cpu"))
    again = Contents()
    again.expect("cars", images)
    again.recall(kept)
    with pytest.raises(DataError, match="has changed since"):
        again.note(Seen("cars", [0], [8]))


def test_nothing_is_recalled_of_other_images(contents: Contents, images: Images) -> None:
    contents.note(Seen("cars", [0], [7]))
    kept = contents.of_all_processes(torch.device("cpu"))
    kept["cars"]["identity"] = "others"
    again = Contents()
    again.expect("cars", images)
    again.recall(kept)
    again.note(Seen("cars", [0], [8]))


def test_what_is_kept_is_plain_and_small(contents: Contents, tmp_path: Path) -> None:
    kept = contents.of_all_processes(torch.device("cpu"))
    torch.save(kept, tmp_path / "kept")
    assert torch.load(tmp_path / "kept", weights_only=True).keys() == {"cars"}
    assert kept["cars"]["hashes"].dtype == torch.int64


def test_a_hash_is_of_all_pixels_and_never_0(images: Images) -> None:
    pixels = torch.randint(256, (4, 4, 3), dtype=torch.uint8).numpy()
    other = pixels.copy()
    other[3, 3, 2] ^= 1
    assert 0 < hash_of(pixels) < 2**63
    assert hash_of(pixels) == hash_of(pixels.copy())
    assert hash_of(pixels) != hash_of(other)


@pytest.mark.parametrize("hashes", [None, "many", torch.zeros(1), torch.zeros(7).long()])
def test_damaged_notes_are_refused(contents: Contents, images: Images, hashes: Any) -> None:
    kept = contents.of_all_processes(torch.device("cpu"))
    kept["cars"]["hashes"] = hashes
    again = Contents()
    again.expect("cars", images)
    with pytest.raises(CheckpointError, match="hashes of the cars in the checkpoint are damag"):
        again.recall(kept)
