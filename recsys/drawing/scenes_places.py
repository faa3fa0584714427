"""Scenes of places and people: drawn in the unit square, ground line at about y = 0.85."""

import math

from recsys.drawing.canvas import Canvas, Role


def draw_house(c: Canvas) -> None:
    """A house with a garden."""
    c.rectangle(0.64, 0.18, 0.72, 0.4, "dark")
    c.rectangle(0.2, 0.44, 0.8, 0.86, "light")
    c.polygon([(0.12, 0.46), (0.5, 0.14), (0.88, 0.46)], "main")
    c.rectangle(0.43, 0.6, 0.57, 0.86, "accent", 0.01)
    for x in (0.26, 0.64):
        c.rectangle(x, 0.54, x + 0.11, 0.67, "soft")
    if c.rng.random() < 0.6:
        c.ellipse(0.5, 0.34, 0.05, "light")
    c.ellipse(0.08, 0.76, 0.09, "soft", 0.1)
    c.ellipse(0.93, 0.78, 0.08, "soft", 0.09)
    c.line([(0.0, 0.86), (1.0, 0.86)], "dark", 0.014)


def draw_car(c: Canvas) -> None:
    """A car on a road."""
    c.polygon([(0.24, 0.52), (0.36, 0.32), (0.66, 0.32), (0.8, 0.52)], "main")
    c.polygon([(0.31, 0.51), (0.39, 0.37), (0.5, 0.37), (0.5, 0.51)], "light")
    c.polygon([(0.54, 0.51), (0.54, 0.37), (0.64, 0.37), (0.73, 0.51)], "light")
    c.rectangle(0.06, 0.5, 0.95, 0.72, "main", 0.07)
    c.rectangle(0.88, 0.56, 0.95, 0.62, "accent", 0.02)
    for x in (0.26, 0.76):
        c.ellipse(x, 0.73, 0.105, "dark")
        c.ellipse(x, 0.73, 0.05, "soft")
    c.line([(0.0, 0.84), (1.0, 0.84)], "dark", 0.02)
    for x in (0.06, 0.36, 0.66):
        c.line([(x, 0.91), (x + 0.16, 0.91)], "soft", 0.018)


def draw_beach(c: Canvas) -> None:
    """Sun, sea, sand and a parasol."""
    c.ellipse(0.76, 0.24, 0.13, "accent")
    c.rectangle(0.0, 0.5, 1.0, 0.72, "main")
    for x in (0.1, 0.4, 0.7):
        c.line([(x, 0.58), (x + 0.08, 0.56), (x + 0.16, 0.58)], "light", 0.014)
    c.rectangle(0.0, 0.7, 1.0, 0.96, "soft")
    c.line([(0.34, 0.86), (0.28, 0.42)], "dark", 0.02)
    arch = [(0.28 - 0.24 * math.cos(math.pi * i / 16), 0.46 - 0.17 * math.sin(math.pi * i / 16)) for i in range(17)]
    c.polygon(arch, "accent")
    c.polygon([(0.2, 0.46), (0.24, 0.32), (0.29, 0.29), (0.33, 0.32), (0.36, 0.46)], "light")
    c.polygon([(0.52, 0.86), (0.82, 0.8), (0.9, 0.86), (0.6, 0.92)], "light")


def draw_plane(c: Canvas) -> None:
    """An aeroplane over clouds."""
    for x, y, r in ((0.14, 0.84, 0.1), (0.27, 0.86, 0.13), (0.78, 0.2, 0.08), (0.88, 0.22, 0.1)):
        c.ellipse(x, y, r, "light", r * 0.6)
    c.polygon([(0.42, 0.5), (0.62, 0.46), (0.5, 0.86), (0.4, 0.88)], "soft")
    c.polygon([(0.46, 0.44), (0.6, 0.4), (0.36, 0.1), (0.28, 0.12)], "soft")
    c.polygon([(0.06, 0.6), (0.82, 0.36), (0.94, 0.38), (0.9, 0.46), (0.14, 0.68)], "main")
    c.polygon([(0.06, 0.6), (0.02, 0.42), (0.1, 0.4), (0.22, 0.55)], "accent")
    for number in range(5):
        c.ellipse(0.36 + number * 0.1, 0.545 - number * 0.031, 0.017, "light")


def draw_globe(c: Canvas) -> None:
    """A globe with currency dots around it."""
    c.ellipse(0.5, 0.5, 0.33, "main")
    c.polygon([(0.3, 0.34), (0.46, 0.26), (0.54, 0.38), (0.44, 0.52), (0.32, 0.48)], "soft")
    c.polygon([(0.56, 0.56), (0.7, 0.5), (0.76, 0.6), (0.62, 0.74)], "soft")
    c.arc(0.5, 0.5, 0.42, (200, 340), "accent", 0.022)
    c.arc(0.5, 0.5, 0.42, (20, 160), "accent", 0.022)
    for x, y in ((0.1, 0.36), (0.9, 0.64), (0.5, 0.08)):
        c.ellipse(x, y, 0.055, "accent")


def _person(c: Canvas, x: float, height: float, role: Role) -> None:
    top = 0.86 - height
    head = height * 0.15
    c.rectangle(x - height * 0.15, top + head * 1.9, x + height * 0.15, 0.86, role, height * 0.12)
    c.ellipse(x, top + head, head, "light")
    c.ellipse(x, top + head * 0.55, head * 0.95, "dark", head * 0.55)


def draw_family(c: Canvas) -> None:
    """Two grown-ups and one or two children."""
    _person(c, 0.26, 0.66, "main")
    _person(c, 0.52, 0.6, "accent")
    _person(c, 0.72, 0.38, "soft")
    if c.rng.random() < 0.6:
        _person(c, 0.88, 0.3, "main")
    c.ellipse(0.4, 0.1, 0.035, "accent")
    c.ellipse(0.46, 0.1, 0.035, "accent")
    c.polygon([(0.368, 0.115), (0.492, 0.115), (0.43, 0.19)], "accent")
    c.line([(0.05, 0.87), (0.97, 0.87)], "dark", 0.014)


def draw_city(c: Canvas) -> None:
    """A skyline with lit windows."""
    left = 0.04
    while left < 0.9:
        width, height = c.rng.uniform(0.13, 0.2), c.rng.uniform(0.3, 0.72)
        role: Role = c.rng.choice(["main", "soft", "main"])
        c.rectangle(left, 0.86 - height, left + width, 0.86, role)
        for row in range(int(height / 0.13)):
            for column in range(2):
                x, y = left + 0.03 + column * width * 0.45, 0.9 - height + row * 0.12
                c.rectangle(x, y, x + 0.035, y + 0.05, "accent" if c.rng.random() < 0.4 else "light")
        left += width + 0.02
    c.line([(0.0, 0.87), (1.0, 0.87)], "dark", 0.016)


def draw_mountain(c: Canvas) -> None:
    """Peaks, a sun and a flag."""
    c.ellipse(0.2, 0.26, 0.1, "accent")
    c.polygon([(0.0, 0.86), (0.3, 0.42), (0.6, 0.86)], "soft")
    c.polygon([(0.22, 0.86), (0.62, 0.2), (1.0, 0.86)], "main")
    c.polygon([(0.51, 0.38), (0.62, 0.2), (0.72, 0.38), (0.65, 0.34), (0.61, 0.42), (0.56, 0.35)], "light")
    c.line([(0.62, 0.2), (0.62, 0.06)], "dark", 0.014)
    c.polygon([(0.62, 0.06), (0.75, 0.1), (0.62, 0.14)], "accent")


def draw_bench(c: Canvas) -> None:
    """A bench under a tree, at sunset."""
    c.ellipse(0.24, 0.42, 0.13, "accent")
    c.rectangle(0.75, 0.4, 0.81, 0.86, "dark")
    for x, y, r in ((0.78, 0.28, 0.2), (0.66, 0.36, 0.13), (0.9, 0.36, 0.12)):
        c.ellipse(x, y, r, "soft")
    c.rectangle(0.18, 0.54, 0.62, 0.6, "main", 0.01)
    c.rectangle(0.18, 0.62, 0.62, 0.66, "main", 0.01)
    c.rectangle(0.14, 0.7, 0.66, 0.75, "main", 0.01)
    for x in (0.2, 0.58):
        c.line([(x, 0.54), (x, 0.86)], "dark", 0.022)
    c.line([(0.0, 0.87), (1.0, 0.87)], "dark", 0.016)
