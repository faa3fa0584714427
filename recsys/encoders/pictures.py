"""Reads picture files that nobody has vouched for: bounded size, raster formats only, corrupt ones refused."""

import io
import struct
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_FILE_BYTES = 64 << 20
MAX_PIXELS = 50_000_000
"""A file of a few kilobytes may claim billions of pixels; the claim is read from the header, before decoding."""
MAX_SIDE = 1024
"""Larger pictures are shrunk on arrival: encoders look at a few hundred pixels, and a batch must fit in memory."""
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Decoders that Pillow has itself. Others, such as EPS, start a program on the file."""


def read_picture_file(path: Path) -> bytes | None:
    """The bytes of a file, or None where it is missing, empty, unreadable or too large."""
    try:
        if not 0 < path.stat().st_size <= MAX_FILE_BYTES:
            return None
        return path.read_bytes()
    except (OSError, ValueError):
        return None


def decode_picture(content: bytes) -> "Image | None":
    """An RGB picture of at most MAX_SIDE pixels a side, turned upright and laid on white; None where it is no picture.

    Of an animation the first frame counts.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BICUBIC)
            return _on_white(ImageOps.exif_transpose(image))
    except _refusals():
        return None


def _refusals() -> tuple[type[Exception], ...]:
    """What Pillow raises on files that are cut short, garbled or too large."""
    from PIL import Image

    return (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        OverflowError,
        IndexError,
        TypeError,
        struct.error,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    )


def _on_white(image: "Image") -> "Image":
    """The picture without transparency, as a page would show it."""
    from PIL import Image

    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    page = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(page, layer).convert("RGB")
