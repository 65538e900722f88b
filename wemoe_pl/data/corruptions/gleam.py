"""Compute the gleam of water on a lens, by the published steps of the corruption `spatter`.

Hendrycks and Dietterich (arXiv 1903.12261) use functions of OpenCV, on levels from 0 to 255. The
functions here give the same levels as OpenCV 4.11 and 5.0, which would be a dependency of fifty
megabytes for a single corruption.
"""

import numpy as np
import scipy  # it imports its parts when they are first used
from numpy.typing import NDArray

Levels = NDArray[np.uint8]  # (H, W)
WEAK_EDGE, STRONG_EDGE = 50, 150  # levels per pixel, in Sobel's measure
FARTHEST = 20  # the largest distance from an edge that counts, in pixels
LIT_FROM_A_CORNER = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
SOBEL = np.outer([1, 2, 1], [-1, 0, 1])  # the slope to the right
DIAGONAL, KNIGHTS_MOVE = 1.4, 2.1969  # OpenCV's lengths of these moves; a straight one has 1


def gleam(liquid: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the gleam on the lit side of each drop, (H, W), from 0 to 1.

    Args:
        liquid: the thickness of the water, (H, W), 0 for a dry pixel. As published, thickness
            counts modulo 256 levels: a value just above 1 is thin.
    """
    levels = (liquid * 255).astype(int).astype(np.uint8)
    distance = distance_from(canny_edges(levels)).clip(max=FARTHEST)
    relief = equalised(box_mean(distance).astype(np.uint8)).astype(int)
    lit = scipy.ndimage.correlate(relief, LIT_FROM_A_CORNER, mode="mirror").clip(0, 255)
    light = levels * box_mean(lit).round()
    return (light / max(light.max(), 1)).astype(np.float32)


def canny_edges(levels: Levels) -> NDArray[np.bool_]:
    """Return a mask of the edges that Canny's detector finds, (H, W).

    An edge is a crest of the steepness that is above `STRONG_EDGE`, or that is above `WEAK_EDGE`
    and connected with such a crest. The steepness is the sum of Sobel's two absolute slopes.
    """
    right, down = (
        scipy.ndimage.correlate(levels.astype(int), kernel, mode="nearest")
        for kernel in (SOBEL, SOBEL.T)
    )
    steepness = abs(right) + abs(down)
    crests = crests_of(steepness, right, down) & (steepness > WEAK_EDGE)
    connected, _ = scipy.ndimage.label(crests, np.ones((3, 3)))
    return crests & np.isin(connected, connected[crests & (steepness > STRONG_EDGE)])


def crests_of(
    steepness: NDArray[np.int_], right: NDArray[np.int_], down: NDArray[np.int_]
) -> NDArray[np.bool_]:
    """Return a mask of the pixels that are steeper than both neighbours along the slope, (H, W).

    These are the two of the eight neighbours that are nearest to the direction of the slope. If two
    adjacent pixels of a row or a column are equally steep, the first is the crest.
    """
    height, width = steepness.shape
    padded = np.pad(steepness, 1)

    def neighbour(row: int, column: int) -> NDArray[np.int_]:
        return padded[1 + row : 1 + row + height, 1 + column : 1 + column + width]

    flat, steep = np.tan(np.pi / 8) * abs(right), np.tan(np.pi * 3 / 8) * abs(right)
    in_row = (steepness > neighbour(0, -1)) & (steepness >= neighbour(0, 1))
    in_column = (steepness > neighbour(-1, 0)) & (steepness >= neighbour(1, 0))
    falling = (steepness > neighbour(-1, -1)) & (steepness > neighbour(1, 1))
    rising = (steepness > neighbour(-1, 1)) & (steepness > neighbour(1, -1))
    diagonal = np.where((right < 0) == (down < 0), falling, rising)
    return np.where(abs(down) < flat, in_row, np.where(abs(down) > steep, in_column, diagonal))


def distance_from(edges: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the distance of each pixel from the nearest edge, (H, W), infinite if there is none.

    The nearest edge is the one with the least Euclidean distance; the distance to it is measured in
    straight, diagonal and knight's moves.
    """
    if not edges.any():
        return np.full(edges.shape, np.inf)
    nearest = scipy.ndimage.distance_transform_edt(
        ~edges, return_distances=False, return_indices=True
    )
    shorter, longer = np.sort(abs(nearest - np.indices(edges.shape)), axis=0)
    knights = np.minimum(shorter, longer - shorter)
    diagonals = shorter - knights
    straight = longer - 2 * knights - diagonals
    return straight + DIAGONAL * diagonals + KNIGHTS_MOVE * knights


def box_mean(values: NDArray[np.float64] | NDArray[np.int_]) -> NDArray[np.float64]:
    """Return the mean over 3 × 3 pixels, (H, W), rounded to remove errors in the last bits."""
    return scipy.ndimage.uniform_filter(values.astype(float), 3, mode="mirror").round(6)


def equalised(levels: Levels) -> Levels:
    """Return the levels spread from 0 to 255 by histogram equalisation.

    Levels that are all equal are not changed.
    """
    counts = np.bincount(levels.ravel(), minlength=256)
    lowest = counts[levels.min()]
    if lowest == levels.size:
        return levels
    spread = (counts.cumsum() - lowest) * np.float32(255 / (levels.size - lowest))
    return spread.round().clip(0, 255).astype(np.uint8)[levels]
