"""Colours of the pictures: seven roles in eight palettes."""

from typing import Final, NamedTuple

Colour = tuple[int, int, int]


class Palette(NamedTuple):
    """The colours of one picture by what they are used for."""

    ground: Colour
    """The background."""
    second: Colour
    """Large shapes of the background."""
    main: Colour
    """The body of the thing shown."""
    accent: Colour
    """What should catch the eye."""
    dark: Colour
    """Outlines and shadows."""
    light: Colour
    """Highlights, windows, paper."""
    soft: Colour
    """Parts that stand back."""


def _parse(colours: str) -> Palette:
    parts = [bytes.fromhex(colour) for colour in colours.split()]
    return Palette(*((part[0], part[1], part[2]) for part in parts))


PALETTES: Final[dict[str, Palette]] = {
    "sunrise": _parse("ffe3c2 ffc58a f0643c ffb000 6e2b1e fff6e8 f59b7a"),
    "ocean": _parse("d6ecf8 a5d3ee 1f6fb2 19b5c9 0f3557 f6fcff 7fb3d9"),
    "forest": _parse("e2f0d9 bfdcae 3a7d44 e0a82e 1e4027 f9fdf4 8dbb7c"),
    "berry": _parse("f7dcec e9b1d3 a3286f 6a3fb5 451238 fff5fb cf7fb0"),
    "mono": _parse("ececec cfcfcf 5c5c5c d63a2f 262626 fbfbfb 9a9a9a"),
    "pastel": _parse("fdf1f5 d9ecf2 9fc5e8 f7b2c4 6f7fa3 ffffff c8e6c9"),
    "night": _parse("171b3a 262c5c 5a63d8 ffd447 090b1e e8eaff 3f479c"),
    "earth": _parse("efe3d2 dcc4a1 b0683c 6b7b4b 4a3020 fbf6ee c99f78"),
}


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """`share` of `other` in `one`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return (red, green, blue)
