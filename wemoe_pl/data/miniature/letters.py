"""Render emnist_letters and kmnist: handwritten letters and kana."""

from wemoe_pl.data.miniature.canvas import Picture
from wemoe_pl.data.miniature.colours import Rng
from wemoe_pl.data.miniature.handwriting import glyph, handwritten

LETTERS = {
    "A": glyph("08 40,40 88,15 75"),
    "B": glyph("10 18,10 60 72 54 14,14 74 86 68 18"),
    "E": glyph("80 10,10 18,18 88,14 64"),
    "G": glyph("82 50 11 04 17 48 77 75,75 45"),
    "H": glyph("10 18,70 78,14 74"),
    "K": glyph("10 18,80 14,33 88"),
    "M": glyph("08 10,10 45,45 70,70 88"),
    "R": glyph("10 18,10 60 72 54 14,34 88"),
    "S": glyph("71 40 12 44 76 48 17"),
    "T": glyph("00 80,40 48"),
    "W": glyph("00 28,28 42,42 68,68 80"),
    "Y": glyph("00 44,80 28"),
}

KANA = {
    "o": glyph("02 52,30 37 17 35 64 86 68,71 82"),
    "ki": glyph("12 71,14 73,30 66,66 25 17 48 78"),
    "su": glyph("02 82,50 54 36 24 42 54 57 28"),
    "tsu": glyph("02 41 82 85 67 38"),
    "na": glyph("02 52,30 06,72 83,54 57 28 16 36 88"),
    "ha": glyph("10 06 18,32 82,60 67 48 37 56 88"),
    "ma": glyph("12 72,14 74,40 47 28 17 36 78"),
    "ya": glyph("04 51 82 74 54,40 51,20 48"),
    "re": glyph("20 28,03 33 07,33 61 65 68 87"),
    "wo": glyph("12 72,40 15 44 47,74 45 37 48 78"),
}


def render_emnist_letters(name: str, rng: Rng) -> Picture:
    """Render a letter in white handwriting on black."""
    return handwritten(LETTERS[name], rng, thin=0.16, thick=0.3, unrest=0.2)


def render_kmnist(name: str, rng: Rng) -> Picture:
    """Render a kana that is written by a broad and restless brush."""
    return handwritten(KANA[name], rng, thin=0.22, thick=0.38, unrest=0.26)
