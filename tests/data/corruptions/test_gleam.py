"""Water gleams as the published steps say, and Canny's edges are OpenCV's."""

import numpy as np
import pytest
from helpers.published_water import Array, published_edges, published_gleam, smoothed
from numpy.random import default_rng

from wemoe_pl.data.corruptions.gleam import canny_edges, distance_from, equalised, gleam

# What `cv2.Canny(levels, 50, 150)` finds in the levels of `waves()`: OpenCV 4.11 and 5.0 alike.
OPENCV_EDGES = """
...#..........#.
#..#..........#.
#..#..####....##
####..#..#......
......#..#......
......#..#..###.
#.....####..#.##
#...........#..#
.#..........#.#.
.#..........#.##
##.####.....###.
...#..#.........
"""
# And their gleam, by the published steps with OpenCV, of 15.
OPENCV_GLEAM = """
0006000000000000
0004000000000000
0368000000000000
09b0000005000000
0000000004000000
0000007998000000
e00000cfe0000000
e000000000000000
a000000000000000
5400000000000000
0000039000000000
000003a000000000
"""
WATER = [(0.62, 0.1, 0.7, 0.70), (0.65, 0.1, 0.8, 0.70), (0.65, 0.3, 1.0, 0.69)]


def waves() -> Array:
    y, x = np.mgrid[0:12, 0:16]
    heights = 0.5 + 0.25 * np.sin(0.9 * x + 0.3 * y) + 0.25 * np.cos(0.7 * y - 0.4 * x)
    return np.where(heights > 0.6, heights, 0)


def drops(seed: int, severity: int, shape: tuple[int, int] = (28, 31)) -> Array:
    location, deviation, blur, threshold = WATER[severity - 1]
    noise = smoothed(default_rng(seed).normal(location, deviation, shape), blur)
    return np.where(noise > threshold, noise, 0)


def test_edges_and_gleam_are_those_of_opencv() -> None:
    edges = canny_edges((waves() * 255).astype(np.uint8))
    seen = ["".join("#" if edge else "." for edge in row) for row in edges]
    assert seen == OPENCV_EDGES.split()
    light = (gleam(waves().astype(np.float32)) * 15).round().astype(int)
    assert ["".join(f"{level:x}" for level in row) for row in light] == OPENCV_GLEAM.split()


@pytest.mark.parametrize("severity", [1, 2, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_edges_and_gleam_are_those_of_the_published_steps(severity: int, seed: int) -> None:
    liquid = drops(seed, severity)
    levels = (liquid * 255).astype(int).astype(np.uint8)
    edges = canny_edges(levels)
    assert set(zip(*map(np.ndarray.tolist, edges.nonzero()), strict=True)) == published_edges(
        levels.astype(float)
    )
    # Most of them lie off the drops' outlines, which gleamed in earlier versions.
    assert 0.01 < edges.mean() < 0.5
    expected = published_gleam(liquid)
    deviation = abs(gleam(liquid.astype(np.float32)) - expected).mean() / expected.mean()
    assert deviation < 0.005  # a pixel may have another nearest edge, when measured in moves


def test_edges_need_a_steep_crest_to_hang_on() -> None:
    ramp = np.zeros((9, 20), np.uint8)
    ramp[:, 10:] = 30  # Sobel's slope is 120: between the two thresholds
    assert not canny_edges(ramp).any()
    ramp[:3, 10:] = 60  # 240: above both
    assert canny_edges(ramp)[:, 9:11].any(1).all()
    assert not canny_edges(ramp)[4:, :9].any()


def test_distances_are_counted_in_moves() -> None:
    edges = np.zeros((4, 6), bool)
    edges[0, 0] = True
    distance = distance_from(edges)
    assert distance[0].tolist() == [0, 1, 2, 3, 4, 5]
    assert distance[1, 1] == 1.4
    assert distance[1, 2] == 2.1969
    assert distance[3, 4] == pytest.approx(2.1969 + 2 * 1.4)
    assert np.isinf(distance_from(np.zeros((2, 3), bool))).all()


def test_levels_are_spread_evenly_and_a_single_level_stays() -> None:
    levels = np.array([[3, 3, 4, 9], [4, 4, 9, 200]], np.uint8)
    assert equalised(levels).tolist() == [[0, 0, 128, 212], [128, 128, 212, 255]]
    alike = np.full((2, 3), 20, np.uint8)
    assert equalised(alike).tolist() == alike.tolist()


def test_water_without_an_edge_gleams_as_thick_as_it_is() -> None:
    liquid = np.linspace(0.71, 0.74, 12, dtype=np.float32).reshape(3, 4)
    levels = (liquid * 255).astype(int)
    np.testing.assert_allclose(gleam(liquid), levels / levels.max(), rtol=1e-6)
    assert not gleam(np.zeros((3, 4), np.float32)).any()


def test_thickness_counts_modulo_256_levels() -> None:
    liquid = np.full((3, 4), 0.9, np.float32)
    wrapped = liquid.copy()
    liquid[1, 1], wrapped[1, 1] = 1.1, (1.1 * 255 - 256 + 0.5) / 255
    np.testing.assert_array_equal(gleam(liquid), gleam(wrapped))


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (2, 2)])
def test_narrow_images_have_a_gleam_too(shape: tuple[int, int]) -> None:
    light = gleam(default_rng(0).random(shape, np.float32))
    assert light.shape == shape
    assert light.max() in {0, 1}
