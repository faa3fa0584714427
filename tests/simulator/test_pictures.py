"""Pictures: drawn the same each time, told apart by their pixels, and by nothing else."""

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from recsys.drawing.picture import SCENES, PictureSpec, draw_photo, draw_picture
from recsys.simulator.bank import Bank
from recsys.simulator.config import SimulatorConfig
from recsys.simulator.world import LAYOUTS, PALETTES, STYLES


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.float32)


@pytest.mark.parametrize("scene", sorted(SCENES))
def test_draw_picture_every_scene_in_every_style_shows_something(scene: str) -> None:
    seen = []
    for number, style in enumerate(STYLES):
        spec = PictureSpec(scene, PALETTES[number], style, LAYOUTS[number % len(LAYOUTS)], number)
        picture = draw_picture(spec)
        assert picture.size == (224, 224)
        assert picture.mode == "RGB"
        assert pixels(picture).std() > 8
        assert picture.tobytes() == draw_picture(spec).tobytes()
        seen.append(picture.tobytes())
    assert len(set(seen)) == len(STYLES)


def test_draw_picture_palette_and_style_can_be_told_from_pixels() -> None:
    """Colour alone tells the palette; the share of edges tells the outline style from the flat one."""
    colours = {}
    for palette in PALETTES:
        specs = [PictureSpec(scene, palette, "flat", "centred", 1) for scene in sorted(SCENES)[:6]]
        colours[palette] = np.stack([pixels(draw_picture(spec)).mean(axis=(0, 1)) for spec in specs])
    centres = {palette: means.mean(axis=0) for palette, means in colours.items()}
    for palette, means in colours.items():
        for mean in means:
            assert min(centres, key=lambda name: float(np.linalg.norm(centres[name] - mean))) == palette


def test_draw_photo_is_the_scene_but_not_the_picture() -> None:
    spec = PictureSpec("house", "earth", "flat", "centred", 4)
    picture, photo = pixels(draw_picture(spec)), pixels(draw_photo(spec))
    assert picture.shape == photo.shape
    assert 3 < np.abs(picture - photo).mean() < 80


def test_no_column_or_file_name_tells_what_a_picture_shows(bank: Path) -> None:
    names = {*SCENES, *PALETTES, *STYLES, *LAYOUTS}
    for table in ("contents", "messages", "events"):
        frame = pl.read_parquet(bank / f"{table}.parquet")
        assert not names & set(frame.columns)
    files = [file.relative_to(bank).as_posix() for file in (bank / "images").rglob("*.jpg")]
    assert all(re.fullmatch(r"images/(creatives/a|products/p|sent/s)\d+\.jpg", file) for file in files)
    assert all(not Image.open(bank / file).getexif() for file in files[:20])


def test_creative_number_does_not_tell_product_or_scene() -> None:
    made = Bank.found(SimulatorConfig(customers=10)).creatives
    number = np.arange(len(made.items))
    for hidden in (made.product, made.scene, made.palette):
        assert abs(np.corrcoef(number, hidden)[0, 1]) < 0.15
