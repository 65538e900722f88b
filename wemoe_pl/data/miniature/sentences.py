"""Render rendered_sst2: three printed words, one of them the verdict of a critic."""

from PIL import Image

from wemoe_pl.data.miniature.canvas import CANVAS, Picture, develop
from wemoe_pl.data.miniature.colours import Rng, hsv
from wemoe_pl.data.miniature.letters import LETTERS
from wemoe_pl.data.miniature.pen import Pen

# All words use the letters of `LETTERS`. The neutral words have each letter that only one kind of
# verdict has, so that no single letter tells the verdict.
NEUTRAL = ("SHE", "THE", "MAY", "ART", "STAGE", "BASE", "MAKES", "GETS")
VERDICTS = {
    "negative": ("WEAK", "MESS", "TAME", "TRASH"),
    "positive": ("BEST", "GEM", "GREAT", "WARM"),
}


def render_rendered_sst2(name: str, rng: Rng) -> Picture:
    """Render a verdict among neutral words, in dark print on pale paper."""
    canvas = Image.new("RGB", (CANVAS, CANVAS), hsv(rng.random(), 0.06, rng.uniform(0.88, 1)))
    ink = hsv(rng.random(), 0.3, rng.uniform(0.05, 0.3))
    pen = Pen(canvas)
    words = [*rng.choice(NEUTRAL, 2, replace=False), rng.choice(VERDICTS[name])]
    for line, word in enumerate(rng.permutation(words).tolist()):
        left, middle = rng.uniform(-0.74, 1.09 - 0.35 * len(word)), 0.62 * (line - 1)
        for column, letter in enumerate(word):
            pen.move(left + 0.35 * column, middle + rng.uniform(-0.05, 0.05), 0.22)
            for stroke in LETTERS[letter]:
                pen.stroke(stroke.tolist(), ink, 0.36)
    return develop(canvas, rng, noise=4)
