"""Scenes of money and things: drawn in the unit square, ground line at about y = 0.85."""

import math

from recsys.drawing.canvas import Canvas


def draw_piggy(c: Canvas) -> None:
    """A piggy bank with a coin."""
    c.rectangle(0.28, 0.7, 0.36, 0.88, "main", 0.02)
    c.rectangle(0.6, 0.7, 0.68, 0.88, "main", 0.02)
    c.polygon([(0.3, 0.4), (0.34, 0.24), (0.44, 0.36)], "soft")
    c.ellipse(0.48, 0.58, 0.33, "main", 0.24)
    c.ellipse(0.2, 0.6, 0.075, "soft", 0.095)
    c.ellipse(0.18, 0.58, 0.014, "dark")
    c.ellipse(0.18, 0.63, 0.014, "dark")
    c.ellipse(0.32, 0.5, 0.022, "dark")
    c.arc(0.83, 0.52, 0.05, (90, 400), "main", 0.022)
    c.line([(0.44, 0.37), (0.6, 0.37)], "dark", 0.025)
    c.ellipse(0.52, 0.2, 0.1, "accent")
    c.ellipse(0.52, 0.2, 0.06, "light")


def draw_coins(c: Canvas) -> None:
    """Stacks of coins, each higher than the one before."""
    heights = [2, 4, 6, 8] if c.rng.random() < 0.6 else [3, 6, 5, 8]
    for stack, count in enumerate(heights):
        x = 0.17 + 0.22 * stack
        for level in range(count):
            y = 0.84 - 0.075 * level
            c.rectangle(x - 0.09, y - 0.03, x + 0.09, y + 0.035, "accent" if level % 2 else "main", 0.03)
    c.ellipse(0.83, 0.12, 0.075, "light")


def draw_plant(c: Canvas) -> None:
    """A plant that grows from a pot."""
    c.line([(0.5, 0.72), (0.5, 0.2)], "dark", 0.025)
    for number, y in enumerate((0.58, 0.44, 0.3)):
        side = 1 if number % 2 else -1
        size = 0.24 - 0.03 * number
        tip = (0.5 + side * size, y - 0.12)
        c.polygon([(0.5, y), (0.5 + side * size * 0.35, y - 0.14), tip, (0.5 + side * size * 0.6, y + 0.02)], "main")
    c.ellipse(0.5, 0.17, 0.08, "accent")
    c.polygon([(0.32, 0.68), (0.68, 0.68), (0.62, 0.9), (0.38, 0.9)], "soft")
    c.rectangle(0.29, 0.64, 0.71, 0.71, "soft", 0.01)


def draw_card(c: Canvas) -> None:
    """One or two bank cards."""
    if c.rng.random() < 0.6:
        c.polygon([(0.2, 0.22), (0.86, 0.12), (0.92, 0.5), (0.26, 0.6)], "soft")
    c.rectangle(0.08, 0.34, 0.86, 0.82, "main", 0.05)
    c.rectangle(0.16, 0.46, 0.3, 0.57, "accent", 0.02)
    c.line([(0.16, 0.67), (0.5, 0.67)], "light", 0.025)
    c.line([(0.16, 0.74), (0.36, 0.74)], "light", 0.02)
    c.ellipse(0.7, 0.69, 0.065, "accent")
    c.ellipse(0.77, 0.69, 0.065, "light")


def draw_wallet(c: Canvas) -> None:
    """A wallet with notes."""
    c.rectangle(0.22, 0.24, 0.74, 0.6, "accent", 0.02)
    c.rectangle(0.28, 0.3, 0.68, 0.5, "light", 0.02)
    c.rectangle(0.12, 0.38, 0.86, 0.84, "main", 0.06)
    c.rectangle(0.6, 0.54, 0.92, 0.7, "soft", 0.05)
    c.ellipse(0.68, 0.62, 0.032, "dark")
    c.line([(0.17, 0.45), (0.8, 0.45)], "light", 0.01)


def draw_chart(c: Canvas) -> None:
    """Bars and a rising line."""
    c.line([(0.1, 0.12), (0.1, 0.86), (0.92, 0.86)], "dark", 0.02)
    level, tops = 0.66, []
    for number in range(5):
        level -= c.rng.uniform(0.03, 0.16)
        x = 0.18 + number * 0.15
        c.rectangle(x, max(level, 0.2), x + 0.09, 0.85, "main" if number % 2 else "soft", 0.01)
        tops.append((x + 0.045, max(level, 0.2) - 0.08))
    c.line(tops, "accent", 0.028)
    for x, y in tops:
        c.ellipse(x, y, 0.026, "accent")


def draw_umbrella(c: Canvas) -> None:
    """An open umbrella in the rain."""
    for _ in range(9):
        x, y = c.rng.uniform(0.05, 0.95), c.rng.uniform(0.02, 0.2)
        c.line([(x, y), (x - 0.03, y + 0.09)], "soft", 0.014)
    arch = [(0.5 - 0.4 * math.cos(math.pi * i / 20), 0.52 - 0.34 * math.sin(math.pi * i / 20)) for i in range(21)]
    c.polygon(arch, "main")
    c.polygon([(0.37, 0.52), (0.43, 0.26), (0.5, 0.18), (0.57, 0.26), (0.63, 0.52)], "accent")
    c.line([(0.5, 0.16), (0.5, 0.8)], "dark", 0.022)
    c.arc(0.56, 0.8, 0.06, (0, 180), "dark", 0.022)


def draw_shield(c: Canvas) -> None:
    """A shield with a tick."""
    c.polygon([(0.5, 0.1), (0.82, 0.2), (0.8, 0.56), (0.5, 0.9), (0.2, 0.56), (0.18, 0.2)], "main")
    c.polygon([(0.5, 0.18), (0.74, 0.26), (0.73, 0.53), (0.5, 0.8)], "soft")
    c.line([(0.34, 0.48), (0.46, 0.62), (0.68, 0.34)], "light", 0.055)
    c.ellipse(0.84, 0.16, 0.05, "accent")


def draw_key(c: Canvas) -> None:
    """A door key with a house on its ring."""
    c.ellipse(0.28, 0.36, 0.18, "main")
    c.ellipse(0.28, 0.36, 0.09, "ground")
    c.polygon([(0.38, 0.42), (0.44, 0.36), (0.9, 0.76), (0.83, 0.83)], "main")
    c.polygon([(0.7, 0.7), (0.64, 0.78), (0.7, 0.84), (0.77, 0.76)], "main")
    c.polygon([(0.57, 0.58), (0.5, 0.66), (0.56, 0.72), (0.64, 0.64)], "main")
    c.polygon([(0.62, 0.26), (0.77, 0.12), (0.92, 0.26)], "accent")
    c.rectangle(0.66, 0.26, 0.88, 0.44, "light")
    c.line([(0.42, 0.28), (0.64, 0.3)], "dark", 0.014)


def draw_cap(c: Canvas) -> None:
    """A graduation cap on books."""
    c.rectangle(0.2, 0.76, 0.8, 0.86, "accent", 0.02)
    c.rectangle(0.24, 0.67, 0.76, 0.76, "light", 0.02)
    c.polygon([(0.3, 0.42), (0.7, 0.42), (0.7, 0.6), (0.5, 0.67), (0.3, 0.6)], "soft")
    c.polygon([(0.5, 0.16), (0.94, 0.36), (0.5, 0.55), (0.06, 0.36)], "main")
    c.line([(0.5, 0.36), (0.84, 0.42), (0.84, 0.6)], "accent", 0.02)
    c.ellipse(0.84, 0.62, 0.035, "accent")


def draw_suitcase(c: Canvas) -> None:
    """A suitcase with stickers."""
    c.line([(0.38, 0.34), (0.38, 0.16), (0.62, 0.16), (0.62, 0.34)], "dark", 0.03)
    c.rectangle(0.18, 0.32, 0.82, 0.84, "main", 0.06)
    c.rectangle(0.28, 0.32, 0.35, 0.84, "soft")
    c.rectangle(0.65, 0.32, 0.72, 0.84, "soft")
    c.ellipse(0.5, 0.52, 0.08, "accent")
    c.rectangle(0.42, 0.66, 0.58, 0.75, "light", 0.02)
    c.ellipse(0.28, 0.87, 0.035, "dark")
    c.ellipse(0.72, 0.87, 0.035, "dark")


def draw_sofa(c: Canvas) -> None:
    """A living room: sofa, lamp, picture."""
    c.rectangle(0.3, 0.12, 0.58, 0.34, "light", 0.01)
    c.polygon([(0.33, 0.31), (0.42, 0.18), (0.5, 0.27), (0.55, 0.31)], "soft")
    c.rectangle(0.16, 0.46, 0.74, 0.72, "main", 0.06)
    c.rectangle(0.1, 0.56, 0.24, 0.8, "main", 0.05)
    c.rectangle(0.66, 0.56, 0.8, 0.8, "main", 0.05)
    c.rectangle(0.24, 0.64, 0.66, 0.78, "soft", 0.03)
    c.rectangle(0.3, 0.52, 0.42, 0.64, "accent", 0.02)
    c.line([(0.9, 0.85), (0.9, 0.36)], "dark", 0.02)
    c.polygon([(0.82, 0.38), (0.98, 0.38), (0.94, 0.22), (0.86, 0.22)], "accent")
    c.line([(0.04, 0.85), (0.97, 0.85)], "dark", 0.014)
