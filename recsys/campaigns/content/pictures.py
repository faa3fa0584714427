"""Pictures for variants: the best of those given, by their vectors, or new ones, composed and labelled machine-made."""

import functools
import hashlib
import io
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from recsys.campaigns.content.channels import DEFAULT_CHANNELS, ChannelLimits, limits_of
from recsys.campaigns.content.facts import ProductFacts
from recsys.campaigns.content.variant import Variant
from recsys.config import BaseConfig
from recsys.drawing.canvas import Canvas
from recsys.drawing.palettes import PALETTES, Palette
from recsys.drawing.picture import SCENES

_SCENES: Final[Mapping[str, Sequence[str]]] = MappingProxyType(
    {
        "savings": ("piggy", "coins", "plant"),
        "term_deposit": ("coins", "shield", "plant"),
        "card": ("card", "wallet", "plane"),
        "personal_loan": ("wallet", "key", "sofa"),
        "mortgage": ("house", "key", "sofa"),
        "fund": ("chart", "globe", "plant"),
        "insurance": ("umbrella", "shield", "family"),
        "pension": ("bench", "mountain", "plant"),
        "fx": ("globe", "plane", "suitcase"),
        "wealth": ("city", "mountain", "chart"),
        "other": ("city", "plant", "bench"),
    }
)
_LOOKS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "warm": ("sunrise", "flat"),
        "factual": ("ocean", "flat"),
        "urgent": ("sunrise", "gradient"),
        "aspirational": ("ocean", "gradient"),
        "playful": ("berry", "flat"),
        "reassuring": ("forest", "flat"),
    }
)
_LABELS: Final = MappingProxyType({"en": "AI-generated", "zh": "AI生成"})
_CJK_FONTS: Final = ("notosanscjk-regular", "notosanssc", "sourcehansans", "wqy", "pingfang", "msyh")
_LABEL_SHARE: Final = 0.05
"""Size of the label's letters in parts of the shorter side, the least that GB 45438-2025 allows for a picture."""


class PictureConfig(BaseConfig):
    """Who answers for the pictures."""

    provider: str = "recsys"
    seed: int = 0


def choose_pictures(audience: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """[S] int: for each audience the picture that it answers to most, ties to the first.

    Args:
        audience: [S, D] float, vectors of segments (means of their customers') in the space of the towers.
        pictures: [A, D] float, vectors of the creatives in the same space; at least one.
    """
    return np.argmax(audience @ pictures.T, axis=1)


def illustrate(
    variants: Sequence[Variant],
    facts: Mapping[str, ProductFacts],
    folder: Path,
    config: PictureConfig,
    channels: Mapping[str, ChannelLimits] = DEFAULT_CHANNELS,
) -> list[Variant]:
    """Composes a picture for each variant whose channel shows one, writes it into `folder`, and seals the variant."""
    folder.mkdir(parents=True, exist_ok=True)
    done = []
    for variant in variants:
        size = limits_of(variant.channel, channels).image
        if size is None:
            done.append(variant)
            continue
        content = compose_picture(variant, facts[variant.product_id].category, size, config)
        name = f"{variant.content_id}.png"
        (folder / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        made: dict[str, object] = {"image": name, "image_size": size, "image_hash": digest, "machine_made": True}
        done.append(variant.model_copy(update=made).sealed())
    return done


def compose_picture(variant: Variant, category: str, size: tuple[int, int], config: PictureConfig) -> bytes:
    """A PNG: scene of the category, colours of the tone, layout of the size, labelled in sight and in its metadata.

    It carries no words but the label: those of the variant stay text, which can be read aloud and checked.
    """
    rng = random.Random(f"{config.seed}:{variant.content_id}")
    palette_name, style = _LOOKS.get(variant.tone, ("ocean", "flat"))
    palette, scenes = PALETTES[palette_name], _SCENES.get(category, _SCENES["other"])
    image = _draw_ground(size, palette, rng)
    _draw_scene(image, rng.choice(scenes), (palette, style), rng)
    _draw_label(image, variant.language, palette)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=_metadata(variant, config), optimize=True)
    return buffer.getvalue()


def read_label(content: bytes) -> dict[str, str]:
    """The text chunks of a PNG, as `compose_picture` wrote them."""
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        return {str(key): value for key, value in image.info.items() if isinstance(value, str)}


def _draw_ground(size: tuple[int, int], palette: Palette, rng: random.Random) -> Image.Image:
    """Twice the size, so that edges come out smooth: a broad shape behind the scene, by one of three layouts."""
    width, height = size[0] * 2, size[1] * 2
    image = Image.new("RGB", (width, height), palette.ground)
    draw = ImageDraw.Draw(image)
    layout = rng.choice(["hill", "slope", "disc"])
    if layout == "hill":
        draw.ellipse((-width * 0.3, height * 0.62, width * 1.3, height * 1.9), fill=palette.second)
    elif layout == "slope":
        draw.polygon([(0, height), (0, height * 0.75), (width, height * 0.45), (width, height)], fill=palette.second)
    else:
        radius = min(width, height) * 0.47
        x, y = width / 2, height / 2
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=palette.second)
    return image.resize(size, Image.Resampling.LANCZOS)


def _draw_scene(image: Image.Image, scene: str, look: tuple[Palette, str], rng: random.Random) -> None:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    canvas = Canvas(*look, rng, side)
    canvas.image.paste(image.crop((left, top, left + side, top + side)).resize(canvas.image.size))
    canvas.place(0.14, 0.12, 0.72)
    SCENES[scene](canvas)
    image.paste(canvas.finish(), (left, top))


def _draw_label(image: Image.Image, language: str, palette: Palette) -> None:
    side = min(image.size)
    text, font = _label(language.split("-")[0], round(side * _LABEL_SHARE))
    draw = ImageDraw.Draw(image)
    box, pad = draw.textbbox((0, 0), text, font=font), round(side * 0.018)
    width, height = box[2] - box[0], box[3] - box[1]
    left, top = image.width - width - 3 * pad, image.height - height - 3 * pad
    plate = (left - pad, top - pad, left + width + pad, top + height + pad)
    draw.rounded_rectangle(plate, pad, fill=palette.dark)
    draw.text((left - box[0], top - box[1]), text, font=font, fill=palette.light)


def _label(language: str, height: float) -> tuple[str, ImageFont.ImageFont | ImageFont.FreeTypeFont]:
    """The label in the language where the machine has letters for it, else in English."""
    path = _cjk_font() if language == "zh" else None
    if path is not None:
        return _LABELS["zh"], ImageFont.truetype(path, height)
    return _LABELS["en"], ImageFont.load_default(height)


@functools.cache
def _cjk_font() -> str | None:
    """A font of this machine that has Chinese letters, by the names of its usual files."""
    from matplotlib.font_manager import findSystemFonts  # knows where each system keeps its fonts

    files = sorted(findSystemFonts(), key=lambda file: Path(file).name)
    return next((file for stem in _CJK_FONTS for file in files if Path(file).name.lower().startswith(stem)), None)


def _metadata(variant: Variant, config: PictureConfig) -> PngInfo:
    info = PngInfo()
    info.add_text("MachineMade", "true")
    info.add_text("Provider", config.provider)
    info.add_text("ContentId", variant.content_id)
    label = {"Label": "1", "ContentProducer": config.provider, "ProduceID": variant.content_id}
    info.add_itxt("AIGC", json.dumps(label, ensure_ascii=False))  # the implicit label of GB 45438-2025
    return info
