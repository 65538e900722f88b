"""The published steps of water on a lens, pixel by pixel: slow, and written for itself."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Edges = set[tuple[int, int]]


def smoothed(noise: Array, deviation: float) -> Array:
    """A Gaussian of 4 deviations to either side; the border is repeated."""
    reach = int(4 * deviation + 0.5)
    weights = [math.exp(-(i**2) / (2 * deviation**2)) for i in range(-reach, reach + 1)]
    kernel = np.outer(weights, weights) / sum(weights) ** 2
    return filtered(noise, kernel, "edge")


def filtered(values: Array, kernel: Array, mode: Any) -> Array:
    reach = len(kernel) // 2
    padded = np.pad(values, reach, mode=mode)
    result = np.zeros_like(values)
    for y, x in np.ndindex(values.shape):
        result[y, x] = (padded[y : y + len(kernel), x : x + len(kernel)] * kernel).sum()
    return result


def published_gleam(liquid: Array) -> Array:
    """From 0 to 1."""
    levels = np.floor(liquid * 255) % 256
    edges = published_edges(levels)
    distance = np.full(levels.shape, 20.0)
    for y, x in np.ndindex(levels.shape):
        distance[y, x] = min([20.0, *(moves(abs(y - r), abs(x - c)) for r, c in edges)])
    mean = np.full((3, 3), 1 / 9)
    relief = equalised(np.floor(filtered(distance, mean, "reflect").round(6)))
    lit = filtered(relief, np.array([[-2.0, -1, 0], [-1, 1, 1], [0, 1, 2]]), "reflect")
    light = levels * filtered(lit.clip(0, 255), mean, "reflect").round()
    return light / light.max()


def moves(down: int, right: int) -> float:
    """How long the shortest way is, of straight, diagonal and knight's moves."""
    ways = []
    for knights in range(min(down, right) + 1):
        long, short = max(down, right) - 2 * knights, min(down, right) - knights
        if long >= 0:
            ways.append(2.1969 * knights + 1.4 * min(long, short) + abs(long - short))
    return min(ways)


def equalised(levels: Array) -> Array:
    lowest = (levels == levels.min()).sum()
    if lowest == levels.size:
        return levels
    rank = np.array([(levels <= level).sum() for level in levels.ravel()]) - lowest
    return (rank / (levels.size - lowest) * 255).round().reshape(levels.shape)


def published_edges(levels: Array, low: float = 50, high: float = 150) -> Edges:
    """Canny's, with Sobel's slopes, the sum of their absolute values, and hysteresis."""
    sobel = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    across, along = filtered(levels, sobel, "edge"), filtered(levels, sobel.T, "edge")
    steepness = abs(across) + abs(along)
    crests = set()
    for y, x in np.ndindex(levels.shape):
        before, after = two_neighbours(float(across[y, x]), float(along[y, x]))
        here, one, other = (at(steepness, y + r, x + c) for r, c in ((0, 0), before, after))
        tie_counts = 0 in before  # in a row or a column
        if here > low and here > one and (here > other or (tie_counts and here == other)):
            crests.add((y, x))
    edges, waiting = set(), [crest for crest in crests if steepness[crest] > high]
    while waiting:
        crest = waiting.pop()
        if crest in crests and crest not in edges:
            edges.add(crest)
            waiting.extend(around(*crest))
    return edges


def two_neighbours(across: float, along: float) -> tuple[tuple[int, int], tuple[int, int]]:
    """The rows and columns to the two that lie in the direction of the slope."""
    angle = math.degrees(math.atan2(abs(along), abs(across)))
    if angle < 22.5:
        return (0, -1), (0, 1)
    if angle > 67.5:
        return (-1, 0), (1, 0)
    side = -1 if (across < 0) == (along < 0) else 1
    return (-1, side), (1, -side)


def at(values: Array, row: int, column: int) -> float:
    inside = 0 <= row < values.shape[0] and 0 <= column < values.shape[1]
    return float(values[row, column]) if inside else 0.0


def around(row: int, column: int) -> Iterator[tuple[int, int]]:
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            yield row + down, column + right
