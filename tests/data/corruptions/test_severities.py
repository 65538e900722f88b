"""Seven kinds of corruption at five severities; anything else is refused."""

from typing import Any

import numpy as np
import pytest
from helpers.plain_images import array, constant, random_image
from numpy.random import default_rng

from wemoe_pl.data.corruptions.severities import CORRUPTIONS, SEVERITIES, corrupt
from wemoe_pl.data.corruptions.task import CorruptedTask, Corruption
from wemoe_pl.data.miniature import MiniatureTask
from wemoe_pl.data.tasks import PaperTask
from wemoe_pl.errors import ConfigError


def test_there_are_the_seven_of_the_paper() -> None:
    named = "motion_blur impulse_noise gaussian_noise pixelate spatter contrast jpeg_compression"
    assert " ".join(CORRUPTIONS) == named
    assert set(PaperTask("cars").facts["corrupted"]) == set(CORRUPTIONS)


@pytest.mark.parametrize("kind", CORRUPTIONS)
@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("size", [(1, 1), (3, 40), (31, 29)])
def test_any_size_stays_and_the_image_is_left_as_it_is(
    kind: str, severity: int, size: tuple[int, int]
) -> None:
    image = random_image(*size)
    before = image.tobytes()
    result = corrupt(image, kind, severity, default_rng(0))
    assert (result.mode, result.size) == ("RGB", size)
    assert image.tobytes() == before


@pytest.mark.parametrize(
    ("kind", "severities"), [(kind, [1, 2, 3, 4, 5]) for kind in CORRUPTIONS if kind != "spatter"]
    + [("spatter", [1, 2, 3]), ("spatter", [4, 5])],  # mud is something else than more water
)  # fmt: skip
def test_the_more_severe_the_farther_from_the_image(kind: str, severities: list[int]) -> None:
    pictures = MiniatureTask("sun397", test_size=10).images("test")
    images = [pictures[i][0].resize((64, 64)) for i in range(8)]
    distances = [
        np.mean([abs(array(corrupt(i, kind, s, default_rng(n))) - array(i)).mean()
                 for n, i in enumerate(images)])
        for s in severities
    ]  # fmt: skip
    assert distances == sorted(distances)
    assert 0 < distances[0] < 0.95 * distances[-1]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"kind": "motion_blurr"}, r"no corruption 'motion_blurr'\. Did you mean 'motion_blur'\?"),
    ({"kind": "fog"}, r"no corruption 'fog'.* Valid names: contrast, gaussian_noise, "),
    ({"severity": 0}, r"Severities are 1, 2, 3, 4 and 5, not 0\."),
    ({"severity": 6}, r"Severities are 1, 2, 3, 4 and 5, not 6\."),
]
BAD_SEED = ({"seed": -1}, r"seed of a corruption is 0 or more, not -1\.")


@pytest.mark.parametrize(("bad", "message"), BAD)
def test_what_is_no_corruption_is_refused(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        corrupt(constant(), rng=default_rng(0), **{"kind": "contrast", "severity": 2, **bad})


@pytest.mark.parametrize(("bad", "message"), [*BAD, BAD_SEED])
def test_it_is_refused_before_any_image_is_read(bad: dict[str, Any], message: str) -> None:
    for corruption in (Corruption, lambda **options: CorruptedTask(PaperTask("dtd"), **options)):
        with pytest.raises(ConfigError, match=message):
            corruption(**{"kind": "contrast", **bad})
