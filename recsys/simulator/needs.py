"""Hidden needs: which of twelve needs a customer has, how strongly, week by week."""

import numpy as np

from recsys.simulator.world import NEEDS, Floats, Ints, life_event_weights, stage_needs

_STANDING = 2
"""Needs that a customer may bring into the period."""


def draw_needs(stage: Ints, weeks: int, rng: np.random.Generator) -> Floats:
    """Draws the path of needs of C customers, [weeks, C, K], each 0..1.

    Two standing needs follow the life stage; in 45 % of customers over half a year a life event wakes two more; all
    rise and fade over weeks.
    """
    count = len(stage)
    path = np.repeat(rng.beta(1.2, 14.0, (1, count, len(NEEDS))).astype(np.float32), weeks, axis=0)
    path = np.clip(path + rng.normal(0, 0.02, path.shape).astype(np.float32), 0, 1)
    standing = _draw_standing(stage, rng)
    for slot in range(_STANDING):
        lasts = rng.geometric(1 / 45, count) + 8
        present = (rng.random(count) < (1.0, 0.5)[slot]).astype(np.float32)
        _add_episode(path, standing[:, slot], -rng.integers(0, 12, count), lasts, present, rng)
    weights, woken = life_event_weights()
    event = _choose(weights[stage], rng)
    happens = rng.random(count) < 0.45 * min(1.5, weeks / 26)
    week = rng.integers(0, weeks, count)
    for slot, strength in enumerate((1.0, 0.7)):
        lasts = rng.integers(12, 30, count)
        _add_episode(path, woken[event, slot], week, lasts, happens * np.float32(strength), rng)
    return path


def _draw_standing(stage: Ints, rng: np.random.Generator) -> Ints:
    weights = stage_needs()[stage] + 0.02
    keys = np.log(weights) + rng.gumbel(size=weights.shape)  # Gumbel top-k: draws without replacement
    return np.argsort(-keys, axis=1)[:, :_STANDING]


def _choose(weights: Floats, rng: np.random.Generator) -> Ints:
    edges = np.cumsum(weights, axis=1)
    return (rng.random(len(weights))[:, None] * edges[:, -1:] > edges).sum(axis=1)


def _add_episode(
    path: Floats, need: Ints, start: Ints, lasts: Ints, strength: np.ndarray, rng: np.random.Generator
) -> None:
    """Raises `need` of each customer to a height of 0.55..1 from week `start` on, for `lasts` weeks, in place."""
    customers = np.arange(len(need))
    height = rng.uniform(0.55, 1.0, len(need)).astype(np.float32) * strength.astype(np.float32)
    for week in range(len(path)):
        rise = np.clip((week - start + 1) / 2.0, 0, 1)
        fade = np.clip((start + lasts - week) / 3.0, 0, 1)
        level = height * (rise * fade).astype(np.float32)
        path[week, customers, need] = np.maximum(path[week, customers, need], level)
