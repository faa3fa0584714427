"""A whole picture: background, layout and scene, in a palette and a style."""

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from PIL import Image, ImageFilter

from recsys.drawing import scenes_places as places
from recsys.drawing import scenes_things as things
from recsys.drawing.canvas import Canvas
from recsys.drawing.palettes import PALETTES

SCENES: Final[Mapping[str, Callable[[Canvas], None]]] = MappingProxyType(
    {
        "house": places.draw_house,
        "key": things.draw_key,
        "sofa": things.draw_sofa,
        "car": places.draw_car,
        "piggy": things.draw_piggy,
        "coins": things.draw_coins,
        "plant": things.draw_plant,
        "cap": things.draw_cap,
        "beach": places.draw_beach,
        "suitcase": things.draw_suitcase,
        "plane": places.draw_plane,
        "globe": places.draw_globe,
        "family": places.draw_family,
        "chart": things.draw_chart,
        "city": places.draw_city,
        "card": things.draw_card,
        "wallet": things.draw_wallet,
        "umbrella": things.draw_umbrella,
        "shield": things.draw_shield,
        "mountain": places.draw_mountain,
        "bench": places.draw_bench,
    }
)


class PictureSpec(NamedTuple):
    """What a picture shows and how; none of it is written beside the file."""

    scene: str
    palette: str
    style: str
    layout: str
    seed: int


def draw_picture(spec: PictureSpec) -> Image.Image:
    """The picture of `spec`: 224 x 224 pixels, the same ones every time."""
    rng = random.Random(spec.seed)
    canvas = Canvas(PALETTES[spec.palette], spec.style, rng)
    _draw_ground(canvas, spec)
    x, y, scale = {
        "centred": (0.14, 0.12, 0.72),
        "badge": (0.22, 0.22, 0.56),
        "horizon": (0.12, 0.16, 0.76),
        "split": (0.3, 0.2, 0.62),
    }[spec.layout]
    canvas.place(x + rng.uniform(-0.03, 0.03), y + rng.uniform(-0.02, 0.02), scale * rng.uniform(0.93, 1.04))
    SCENES[spec.scene](canvas)
    return canvas.finish()


def draw_photo(spec: PictureSpec) -> Image.Image:
    """The same scene as a customer would send it: tilted, soft, unevenly lit."""
    rng = random.Random(spec.seed + 1)
    picture = draw_picture(spec)
    picture = picture.rotate(rng.uniform(-9, 9), Image.Resampling.BILINEAR, fillcolor=PALETTES[spec.palette].second)
    margin = rng.randrange(8, 22)
    picture = picture.crop((margin, margin, 224 - margin, 224 - margin)).resize((224, 224), Image.Resampling.BILINEAR)
    picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2)))
    shade = Image.linear_gradient("L").resize((224, 224)).rotate(rng.choice([0, 90, 180, 270]))
    return Image.composite(picture, picture.point(lambda value: int(value * 0.72)), shade)


def save_picture(picture: Image.Image, path: Path) -> None:
    """Writes a JPEG without metadata: equal pictures are equal files."""
    picture.save(path, "JPEG", quality=88, subsampling=0)


def _draw_ground(canvas: Canvas, spec: PictureSpec) -> None:
    canvas.place(0.0, 0.0, 1.0)
    if spec.style == "gradient":
        canvas.rectangle(-0.01, -0.01, 1.01, 1.01, "second")
    if spec.layout == "badge":
        canvas.ellipse(0.5, 0.5, 0.42, "second")
    elif spec.layout == "horizon":
        canvas.rectangle(-0.02, 0.72, 1.02, 1.02, "second")
    elif spec.layout == "split":
        canvas.polygon([(-0.02, -0.02), (0.5, -0.02), (0.2, 1.02), (-0.02, 1.02)], "second")
    if spec.style == "dotted":
        for row in range(12):
            for column in range(12):
                canvas.ellipse(column / 11.5 + 0.04 * (row % 2), row / 11.5, 0.008, "soft")
