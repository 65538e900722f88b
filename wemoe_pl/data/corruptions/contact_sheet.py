"""Draw an image under every corruption as one picture, for documents."""

from PIL import Image, ImageDraw, ImageFont

from wemoe_pl.data.corruptions.severities import CORRUPTIONS, SEVERITIES, corrupt, stream


def corruption_sheet(image: Image.Image, scale: int = 2, seed: int = 0) -> Image.Image:
    """Return a picture with a row per corruption: the image, then its severities 1 to 5.

    Args:
        image: the RGB image.
        scale: the factor by which the results are enlarged.
        seed: the seed of the corruptions.
    """
    (width, height), left, top = (side * scale for side in image.size), 128, 24
    sheet = Image.new("RGB", (left + 6 * width, top + len(CORRUPTIONS) * height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for severity in (0, *SEVERITIES):
        x = left + severity * width + width // 2
        draw.text((x, top // 2), str(severity), "black", font, anchor="mm")
    for row, kind in enumerate(CORRUPTIONS):
        y = top + row * height
        draw.text((8, y + height // 2), kind.replace("_", " "), "black", font, anchor="lm")
        corrupted = [corrupt(image, kind, s, stream(seed, kind, s, 0)) for s in SEVERITIES]
        for column, shown in enumerate([image, *corrupted]):
            enlarged = shown.resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(enlarged, (left + column * width, y))
    return sheet
