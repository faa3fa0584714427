"""A canvas in unit coordinates whose style decides how a shape is inked: flat, gradient, outline, dotted or paper."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Final, Literal

from PIL import Image, ImageDraw

from recsys.drawing.palettes import Colour, Palette, mix

SIZE: Final = 224
"""Width and height of a finished picture in pixels, where nobody asks for another."""
_OVERSAMPLING: Final = 2
_PEN: Final = 5 / (SIZE * _OVERSAMPLING)
"""Width of an outline, in parts of the picture."""

Point = tuple[float, float]
Role = Literal["ground", "second", "main", "accent", "dark", "light", "soft"]
Ink = Callable[[ImageDraw.ImageDraw, Colour | int, float], None]


class Canvas:
    """Draws shapes given in the unit square (y down) of a scene that stands somewhere on the picture."""

    def __init__(self, palette: Palette, style: str, rng: random.Random, size: int = SIZE) -> None:
        self.palette = palette
        self.style = style
        self.rng = rng
        self._pixels = size * _OVERSAMPLING
        self._pen = round(_PEN * self._pixels)
        self.image = Image.new("RGB", (self._pixels, self._pixels), palette.ground)
        self._draw = ImageDraw.Draw(self.image)
        self._origin: Point = (0.0, 0.0)
        self._scale = 1.0

    def place(self, x: float, y: float, scale: float) -> None:
        """Lets following shapes' unit square have its corner at (x, y) and be `scale` wide, in parts of the picture."""
        self._origin, self._scale = (x, y), scale

    def colour(self, role: Role) -> Colour:
        """The palette's colour for `role`."""
        colour: Colour = getattr(self.palette, role)
        return colour

    def polygon(self, points: Sequence[Point], role: Role) -> None:
        """A filled polygon."""
        corners = [self._pixel(point) for point in points]

        def ink(draw: ImageDraw.ImageDraw, fill: Colour | int, shift: float) -> None:
            draw.polygon([(x + shift, y + shift) for x, y in corners], fill=fill)

        self._shape(ink, corners, role)
        if self.style == "outline":
            self._stroke([*corners, corners[0]], self.palette.dark, self._pen)

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, role: Role, radius: float = 0.0) -> None:
        """A rectangle, its corners rounded by `radius`."""
        (left, top), (right, bottom) = self._pixel((x0, y0)), self._pixel((x1, y1))
        rounding = radius * self._scale * self._pixels

        def ink(draw: ImageDraw.ImageDraw, fill: Colour | int, shift: float) -> None:
            box = (left + shift, top + shift, right + shift, bottom + shift)
            draw.rounded_rectangle(box, rounding, fill=fill)

        self._shape(ink, [(left, top), (right, bottom)], role)
        if self.style == "outline":
            self._draw.rounded_rectangle(
                (left, top, right, bottom), rounding, outline=self.palette.dark, width=self._pen
            )

    def ellipse(self, x: float, y: float, rx: float, role: Role, ry: float | None = None) -> None:
        """An ellipse around (x, y); a circle where `ry` is not given."""
        ry = rx if ry is None else ry
        (left, top), (right, bottom) = self._pixel((x - rx, y - ry)), self._pixel((x + rx, y + ry))

        def ink(draw: ImageDraw.ImageDraw, fill: Colour | int, shift: float) -> None:
            draw.ellipse((left + shift, top + shift, right + shift, bottom + shift), fill=fill)

        self._shape(ink, [(left, top), (right, bottom)], role)
        if self.style == "outline":
            self._draw.ellipse((left, top, right, bottom), outline=self.palette.dark, width=self._pen)

    def line(self, points: Sequence[Point], role: Role, width: float = 0.02) -> None:
        """A line of `width`, with round joints."""
        pixels = max(2, round(width * self._scale * self._pixels))
        self._stroke([self._pixel(point) for point in points], self.colour(role), pixels)

    def arc(self, x: float, y: float, r: float, angles: tuple[float, float], role: Role, width: float = 0.02) -> None:
        """A part of a circle, angles in degrees clockwise from three o'clock."""
        low, high = angles
        steps = [math.radians(low + (high - low) * i / 24) for i in range(25)]
        self.line([(x + r * math.cos(a), y + r * math.sin(a)) for a in steps], role, width)

    def finish(self) -> Image.Image:
        """The picture at its final size."""
        return self.image.reduce(_OVERSAMPLING)

    def _pixel(self, point: Point) -> Point:
        x0, y0 = self._origin
        return ((x0 + point[0] * self._scale) * self._pixels, (y0 + point[1] * self._scale) * self._pixels)

    def _stroke(self, points: Sequence[Point], colour: Colour, width: int) -> None:
        self._draw.line(list(points), fill=colour, width=width, joint="curve")

    def _shape(self, ink: Ink, corners: Sequence[Point], role: Role) -> None:
        colour = self.colour(role)
        if self.style == "outline" and role not in {"accent", "ground", "second"}:
            ink(self._draw, mix(colour, self.palette.light, 0.82), 0)
        elif self.style == "gradient":
            self._fill_gradient(ink, corners, colour)
        elif self.style == "dotted" and role in {"main", "soft"}:
            self._fill_dots(ink, corners, colour)
        else:
            if self.style == "paper" and role not in {"ground", "dark"}:
                ink(self._draw, mix(self.palette.ground, self.palette.dark, 0.45), 7)
            ink(self._draw, colour, 0)

    def _mask(self, ink: Ink, corners: Sequence[Point]) -> tuple[Image.Image, tuple[int, int, int, int]] | None:
        xs, ys = [x for x, _ in corners], [y for _, y in corners]
        box = (
            max(0, int(min(xs))),
            max(0, int(min(ys))),
            min(self._pixels, int(max(xs)) + 2),
            min(self._pixels, int(max(ys)) + 2),
        )
        if box[0] >= box[2] or box[1] >= box[3]:
            return None
        mask = Image.new("L", (self._pixels, self._pixels), 0)
        ink(ImageDraw.Draw(mask), 255, 0)
        return mask.crop(box), box

    def _fill_gradient(self, ink: Ink, corners: Sequence[Point], colour: Colour) -> None:
        masked = self._mask(ink, corners)
        if masked is None:
            return
        mask, box = masked
        ramp = Image.linear_gradient("L").resize(mask.size)
        light = Image.new("RGB", mask.size, mix(colour, self.palette.light, 0.5))
        light.paste(mix(colour, self.palette.dark, 0.12), mask=ramp)
        self.image.paste(light, box, mask)

    def _fill_dots(self, ink: Ink, corners: Sequence[Point], colour: Colour) -> None:
        masked = self._mask(ink, corners)
        if masked is None:
            return
        mask, box = masked
        texture = Image.new("RGB", mask.size, colour)
        draw = ImageDraw.Draw(texture)
        light = mix(colour, self.palette.light, 0.55)
        for row, y in enumerate(range(0, mask.size[1], 13)):
            for x in range(0 if row % 2 else 7, mask.size[0], 14):
                draw.ellipse((x, y, x + 5, y + 5), fill=light)
        self.image.paste(texture, box, mask)
